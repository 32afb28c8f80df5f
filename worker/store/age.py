"""Whether the database is older than its witness, seen without opening the store: that would mark its accounts.

For those who look and change nothing (`worker status`, `worker doctor`). What opening it makes of each account is the
business of `worker.store.reconciliation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.store.snapshot import LOCK_WAIT, connected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.store.witness_file import Witnessed, WitnessFile

_LINEAGE = "SELECT mark, backed_up_at FROM lineage"
_GENERATIONS = (
    "SELECT a.uid, a.integration, a.name, g.generation, a.state FROM account a JOIN grant_ g ON g.account_id = a.id"
)
#: How often a difference from the witness is looked at before it counts: an account may just be taken away.
_LOOKS = 2
#: Accounts that are named one by one.
_NAMED = 3


def older(url: str, path: Path | None, witness: WitnessFile) -> str:
    """Why the database is older than its witness; empty when it is not. Raises as `take` and reading the witness do.

    Usually one row and the end of a file. What a commit that is under way has told the witness already does not count.
    """
    found = ""
    for _ in range(_LOOKS):
        with connected(url, path, LOCK_WAIT) as ask:
            # The witness first: whatever it knows for certain, the database has by then.
            mark = witness.last_mark()
            ((lineage, backed_up_at),) = ask(_LINEAGE, ()) or [("", None)]
            if backed_up_at is None and mark in {None, lineage}:
                return ""
            known = witness.read().accounts
            rows = {row[0]: _Row(f"{row[1]}/{row[2]}", int(row[3]), row[4]) for row in ask(_GENERATIONS, ())}
        found = _behind(rows, known, is_backup=backed_up_at is not None)
        if not found:
            return ""
    return found


@dataclass(frozen=True)
class _Row:
    """What the database says of an account."""

    label: str
    generation: int
    state: str


def _behind(rows: Mapping[str, _Row], known: Mapping[str, Witnessed], *, is_backup: bool) -> str:
    unknown = [row.label for uid, row in rows.items() if uid not in known] if is_backup else []
    missing, behind = [], []
    if not rows or not rows.keys().isdisjoint(known):  # else it is another database's witness
        missing = [said.label for uid, said in known.items() if uid not in rows and said.enrolled]
        behind = [said.label for uid, said in known.items() if uid in rows and _is_behind(rows[uid], said)]
    parts = (("behind", behind), ("missing", missing), ("in a backup of unknown age", unknown))
    return "; ".join(f"{len(labels)} {words} ({_some(labels)})" for words, labels in parts if labels)


def _is_behind(row: _Row, said: Witnessed) -> bool:
    if said.fate in {"revoked", "removed"}:
        return said.certain and row.generation <= said.generation and row.state != "revoked"
    return row.generation < said.generation - (not said.certain)


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:_NAMED]) + (", …" if len(labels) > _NAMED else "")
