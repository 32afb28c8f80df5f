"""The schema, brought up to date under a lock when a process opens the store.

The usual start costs one SELECT: Alembic is loaded only when there is something to do. A database that a newer
program has migrated is refused, because writing the old shape into the new schema is how grants get lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from worker.errors import StoreUnusable

if TYPE_CHECKING:
    from worker.store.database import Database
    from worker.store.locks import Locks

#: The newest migration in `migrations/versions`; a test holds the two together.
HEAD = "0003"
_SCRIPTS = Path(__file__).parent / "migrations"


def schema_version(database: Database) -> str | None:
    """The revision the database stands at; None when it is empty."""
    with database.read() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        return session.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def upgrade(database: Database, locks: Locks) -> bool:
    """Bring the schema to HEAD; answers whether anything was done.

    Raises StoreUnusable when the database is newer than this program, Busy when another process is migrating it.
    """
    if schema_version(database) == HEAD:
        return False
    with locks.hold("migration"):
        return upgrade_unshared(database)


def upgrade_unshared(database: Database) -> bool:
    """The same for a database that nobody else can have open: a backup on its way in or out."""
    version = schema_version(database)
    if version == HEAD:
        return False
    _refuse_newer(database, version)
    _run_alembic(database)
    return True


def _refuse_newer(database: Database, version: str | None) -> None:
    known = {path.name.split("_", 1)[0] for path in (_SCRIPTS / "versions").glob("[0-9]*.py")}
    if version is not None and version not in known:
        raise StoreUnusable(
            f"{database.name} has schema {version}; this program knows schemas up to {HEAD}. A newer version of the"
            " worker has used it",
            hint="install that version again, or restore a backup made before the upgrade",
        )


def _run_alembic(database: Database) -> None:
    from alembic import command  # noqa: PLC0415 - a tenth of a second that most starts do not need
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    with database.write() as session:
        # All of it in one transaction; both databases roll back DDL.
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "head")
