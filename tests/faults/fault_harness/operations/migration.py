"""A migration: a database of the first schema, with an account in it, is opened by this version."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from fault_harness import faults
from fault_harness.a_run import EVERY_ROW
from fault_harness.oracle import Judgement, Outcome, has_gone_on, judge, unless
from fault_harness.place import admit, read_database
from fault_harness.restart import go_on, report
from fault_harness.steps import At, Step
from worker.store import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fault_harness.oracle import Evidence
    from fault_harness.place import Stored
    from fault_harness.trial import Trial

#: The first schema that was ever released.
FIRST = "0001"
_SCRIPTS = Path(migrate.__file__).parent / "migrations"
#: The newest migration's own function.
_UPGRADE = f"store.migrations.versions.{next((_SCRIPTS / 'versions').glob(f'{migrate.HEAD}_*.py')).stem}:upgrade"
#: A copy of the database as it was.
_BEFORE = "before.db"


class Migration:
    """See the module."""

    name = "migration"
    words = f"a store of schema {FIRST} with an account is brought to schema {migrate.HEAD}"
    steps = (
        Step("the store is being opened"),
        Step("the schema is old, the migration's lock is taken", "store.migrate:schema_version", At.EXIT),
        Step("lock held, the migrations are loaded", "store.migrate:_run_alembic"),
        Step("transaction begun, the schema is being changed", _UPGRADE),
        Step("changed, the commit is under way", _UPGRADE, At.EXIT),
        Step("committed, the key is being checked", "store.migrate:_run_alembic", At.EXIT),
    )
    scope = ("store/", "crypto/", "wiring")
    faults = (faults.NONE,)

    def arrange(self, trial: Trial) -> None:
        """An account whose access token is good."""
        trial.given["grant"] = trial.provider.control.grant(trial.user)

    def prepare(self, trial: Trial) -> Callable[[], object]:
        """Its rows in a database of the first schema."""
        before = trial.place.wiring()
        admit(before, trial.given["grant"], trial.user)
        before.store.close()
        newest = trial.place.database.rename(trial.place.folder / "newest.db")
        # A store of that time had no witness.
        before.store_place().witness.unlink()
        make_first(trial.place.database)
        copy_rows(newest, trial.place.database)
        trial.place.database.chmod(0o600)
        shutil.copy(trial.place.database, trial.place.folder / _BEFORE)
        wiring = trial.place.wiring()
        return lambda: wiring.store

    def between(self, trial: Trial, *, redeemed: bool) -> None:
        """Nothing."""

    def restart(self, trial: Trial) -> dict[str, Any]:
        """Open it again, go on."""
        return report(trial.place, go_on)

    def judge(self, trial: Trial, evidence: Evidence) -> Judgement:
        """Old as a whole or new as a whole, and nothing is missing."""
        before = read_database(trial.place.folder / _BEFORE)
        after, end = evidence.stored, trial.place.stored()
        whole = after.schema == before.schema if after.version == FIRST else after.schema == end.schema
        calls = evidence.end.calls - evidence.before.calls
        return judge(
            evidence,
            Outcome.WENT_ON,
            unless(after.version in {FIRST, migrate.HEAD}, f"the schema is {after.version!r}"),
            unless(whole, f"schema {after.version} is there by half"),
            unless(end.version == migrate.HEAD, f"after the restart the schema is {end.version}"),
            unless(not _missing(before, after), f"gone after the stop: {_missing(before, after)}"),
            unless(calls == 0, f"{calls} calls of the token endpoint, with a token that was good"),
            *has_gone_on(evidence, EVERY_ROW),
        )


def make_first(path: Path) -> None:
    """An empty database of the first schema."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, FIRST)
    engine.dispose()


def copy_rows(newer: Path, older: Path) -> None:
    """Bring rows into an older schema, as far as it has room for them."""
    with closing(sqlite3.connect(older)) as connection, connection:
        connection.execute("ATTACH ? AS newer", (str(newer),))
        tables = connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            columns = [row[1] for row in connection.execute(f'PRAGMA main.table_info("{table}")')]
            names = ", ".join(f'"{column}"' for column in columns)
            if table != "alembic_version":
                connection.execute(f'INSERT INTO main."{table}" ({names}) SELECT {names} FROM newer."{table}"')


def _missing(before: Stored, after: Stored) -> list[str]:
    """Tables some of whose old rows are not there any more, or have changed."""
    return [
        table
        for table, rows in before.tables.items()
        if table != "alembic_version" and [_old_part(row, rows) for row in after.tables.get(table, [])] != rows
    ]


def _old_part(row: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in rows[0]} if rows else dict(row)
