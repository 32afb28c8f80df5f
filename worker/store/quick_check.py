"""A look over a SQLite file, at a cost that does not grow with it beyond a point."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

#: Bytes up to which a file is looked over whole (about 20 ms); of a larger one these tables only.
_QUICK_BYTES = 32 << 20
_FIRST_TABLES = ("account", "key_check", "client_secret", "refresh_intent")


def quick_faults(connection: Connection) -> list[str]:
    """What SQLite finds wrong; empty when nothing is. The driver's errors are raised as they are."""
    # What this connection has read before would be looked at otherwise, and not the file.
    connection.exec_driver_sql("PRAGMA shrink_memory")
    pages, size = (connection.exec_driver_sql(f"PRAGMA page_{one}").scalar_one() for one in ("count", "size"))
    checks = ["PRAGMA quick_check(3)"]
    if pages * size > _QUICK_BYTES:
        checks = [f"PRAGMA quick_check({table})" for table in _FIRST_TABLES]
    found = [str(line) for check in checks for line in connection.exec_driver_sql(check).scalars()]
    return [line for line in found if line != "ok"]
