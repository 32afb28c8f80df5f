"""Output: results on stdout, everything else on stderr. Tables are aligned text; on a terminal rich fits them to it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def say(text: str) -> None:
    """A result for people, on stdout."""
    sys.stdout.write(text + "\n")


def tell(text: str) -> None:
    """Progress and advice, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_error(message: str, hint: str, code: int, *, as_json: bool) -> None:
    """An error: what happened and what to do; with `--json` also as the one document on stdout."""
    from worker.redact import scrub_patterns

    message, hint = scrub_patterns(message), scrub_patterns(hint)
    tell(f"worker: {message}")
    if hint:
        tell(f"Try: {hint}")
    if as_json:
        print_json({"error": message, "hint": hint, "exit_code": code})


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, empty: str = "nothing") -> None:
    """Rows as a table on stdout. Columns are field names; `last_run` is headed `LAST RUN`."""
    if not rows:
        tell(empty)
        return
    heads = [name.replace("_", " ").upper() for name in columns]
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    if sys.stdout.isatty():
        _print_rich(heads, cells)
        return
    widths = [max(len(line[index]) for line in [heads, *cells]) for index in range(len(heads))]
    for line in [heads, *cells]:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _print_rich(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for line in cells:
        table.add_row(*(Text(text) for text in line))
    Console().print(table)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return " ".join(str(value).split())
