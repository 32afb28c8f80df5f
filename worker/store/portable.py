"""All rows of one database into another, of either kind: what a backup of a server is, and a restore into one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Integer, delete, insert, select, text
from sqlmodel import SQLModel

from worker.store import tables  # noqa: F401 - fills the metadata

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.orm import Session

#: Rows read and written at a time.
_PAGE = 500


def replace_rows(source: Session, target: Session) -> None:
    """Empty the target, and copy every row of the source into it. Both stand at the newest schema.

    The source's transaction must see one state throughout; the target's decides when all of it is there.
    """
    in_order = SQLModel.metadata.sorted_tables
    for table in reversed(in_order):
        target.execute(delete(table))
    for table in in_order:
        rows = source.execute(select(table).execution_options(yield_per=_PAGE)).mappings()
        for page in rows.partitions(_PAGE):
            target.execute(insert(table), [dict(row) for row in page])
    if target.get_bind().dialect.name == "postgresql":
        for table in in_order:
            _count_on(target, table)


def _count_on(target: Session, table: Table) -> None:
    """Let the server number new rows above those that were copied with their numbers."""
    number = table.c.get("id")
    if number is None or not isinstance(number.type, Integer):
        return
    sequence = target.execute(text("SELECT pg_get_serial_sequence(:table, 'id')"), {"table": table.name}).scalar()
    if sequence is not None:
        highest = target.execute(select(number).order_by(number.desc()).limit(1)).scalar()
        target.execute(
            text("SELECT setval(:sequence, :value, :used)"),
            {"sequence": sequence, "value": highest or 1, "used": highest is not None},
        )
