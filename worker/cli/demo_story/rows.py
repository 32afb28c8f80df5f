"""The truth about rows: what lies in the sink, compared with what the source holds.

Two rows are the same when number, identifier, status and the moment of the last change are, which every change at the
source moves. The sink writes moments with seven digits always, the API leaves trailing zeros out.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from worker.cli.demo_story.folder import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Fingerprint = tuple[str, ...]
_DIGITS = 7


def fingerprint(row: Mapping[str, object], key: str) -> Fingerprint:
    """What has to be the same on both sides."""
    moment, _, fraction = str(row["LastModifiedDateTime"]).removesuffix("Z").partition(".")
    return (
        str(row[key]),
        f"{moment}.{fraction.ljust(_DIGITS, '0')}",
        str(row.get("UniqueIdentifier")),
        str(row.get("Status")),
    )


def source_prints(rows: Sequence[Mapping[str, object]], collection: str) -> set[Fingerprint]:
    """The source's rows of a collection."""
    return {fingerprint(row, KEYS[collection]) for row in rows}


def sink_prints(database: Path, collection: str, account: str) -> set[Fingerprint]:
    """One account's rows in the sink; none when the table is not there yet."""
    with closing(_open(database)) as connection:
        connection.row_factory = sqlite3.Row
        try:
            found = connection.execute(f'SELECT * FROM "{collection}" WHERE _account = ?', (account,))  # noqa: S608
            return {fingerprint(dict(row), KEYS[collection]) for row in found}
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return set()
            raise


def sink_counts(database: Path) -> dict[tuple[str, str], int]:
    """Rows in the sink by account and collection."""
    counts: dict[tuple[str, str], int] = {}
    if not database.exists():
        return counts
    with closing(_open(database)) as connection:
        for collection in KEYS:
            try:
                found = connection.execute(f'SELECT _account, count(*) FROM "{collection}" GROUP BY 1')  # noqa: S608
                counts |= {(str(account), collection): int(count) for account, count in found}
            except sqlite3.OperationalError as error:
                # Being written or not made yet: the next look will see it.
                if "no such table" not in str(error) and "locked" not in str(error):
                    raise
    return counts


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=5)
