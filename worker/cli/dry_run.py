"""A dry run, as people see it: each table's rows with the types that came, and where the cursor would go.

Rows that are too wide for the terminal are shown one under the other, each on lines of its own.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from worker.cli.output import say, tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Characters of a value; the rest is cut off.
_LONGEST = 40
#: Columns where nobody says how wide the terminal is.
_WIDTH = (120, 24)
_GAP = "  "


def show(trial: Mapping[str, Any], limit: int) -> None:
    """Show what one account's dry run has brought; `trial` as `--json` has it."""
    for table, rows in trial["tables"].items():
        key = ", ".join(trial["keys"][table]) or "none"
        full = ", the limit" if len(rows) >= limit else ""
        say(f"{trial['account']} {table}: {_rows(len(rows))}{full}; key {key}")
        _show_rows(rows, trial["columns"][table])
    for gone in trial["deletions"]:
        would = f"would be held ({gone['held']})" if gone["held"] else "would be deleted"
        keys = f": {'; '.join(gone['sample'])}" if gone["sample"] else ""
        more = "; …" if gone["rows"] > len(gone["sample"]) > 0 else ""
        say(f"{trial['account']} {gone['table']}: {_rows(gone['rows'])} {would}{keys}{more}")
    if trial["error"]:
        tell(f"worker: {trial['account']}: {trial['error']}")
    elif not trial["tables"]:
        say(f"{trial['account']}: no rows")
    before, after = (json.dumps(trial[name], ensure_ascii=False) for name in ("cursor_before", "cursor"))
    moved = f"would go from {before} to {after}" if before != after else f"would stay at {after}"
    say(f"{trial['account']}: the cursor {moved}")


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _show_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    names = list(columns)
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    lines = [[_printable(name) for name in names], list(columns.values()), *cells]
    widths = [max(len(line[index]) for line in lines) for index in range(len(names))]
    if sum(widths) + len(_GAP) * (len(widths) - 1) <= shutil.get_terminal_size(_WIDTH).columns:
        for line in lines:
            say(_GAP.join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        return
    heads = max(map(len, lines[0]))
    kinds = max(map(len, lines[1]))
    for number, line in enumerate(cells, start=1):
        say(f"-- {number}")
        for name, kind, text in zip(lines[0], lines[1], line, strict=True):
            say(_GAP.join((name.ljust(heads), kind.ljust(kinds), text)))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)
    text = _printable(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _printable(text: str) -> str:
    """On one line, and without what would tell the terminal something."""
    return "".join(character if character.isprintable() else " " for character in text)


def types_of(seen: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The types of each column in a word: `int`, `int|str`; with `?` where some rows have none."""
    return {
        name: ("|".join(kind for kind in kinds if kind != "None") or "None")
        + ("?" if "None" in kinds and len(kinds) > 1 else "")
        for name, kinds in seen.items()
    }
