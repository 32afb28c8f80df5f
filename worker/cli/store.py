"""`worker store`: the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, say, tell
from worker.clock import rfc3339
from worker.errors import NeedsConsent

if TYPE_CHECKING:
    from worker.store.restore import RestoreReport
    from worker.wiring import Wiring

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The database: check, backup, restore, migrate.")

#: Accounts that are told one by one.
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="store")


@group.command("migrate")
def migrate(context: typer.Context) -> None:
    """Bring the schema up to date (every start does the same).

    Example: worker store migrate
    """
    from worker.store.migrate import HEAD

    called = invocation(context)
    name = called.wiring().store.database.name
    if called.as_json:
        print_json({"database": name, "schema": HEAD})
    else:
        say(f"{name} has schema {HEAD}")


@group.command("check")
def check(context: typer.Context) -> None:
    """Check the database's integrity, its key, and that every sealed value opens.

    Example: worker store check
    """
    from worker.errors import StoreUnusable
    from worker.store.sealed_values import find_unopened

    called = invocation(context)
    wiring = called.wiring()
    name, faults = _faults_of_file(wiring)
    if not faults:
        faults = [unopened.message for unopened in find_unopened(wiring.store.database, wiring.sealer)[1]]
    if called.as_json:
        print_json({"database": name, "faults": faults})
        raise typer.Exit(StoreUnusable.exit_code if faults else 0)
    if faults:
        raise StoreUnusable(
            "\n".join([f"{name}: {len(faults)} faults", *faults]), hint="restore a backup: worker store restore FILE"
        )
    say(f"{name}: sound")


def _faults_of_file(wiring: Wiring) -> tuple[str, list[str]]:
    """The database's name, and what is wrong with its file: a damaged one cannot be opened as a store."""
    from contextlib import closing

    from worker.store.database import Database
    from worker.store.fresh_start import refuse_missing_file
    from worker.store.witness_file import WitnessFile

    if wiring.config.store.sqlite_path is not None:
        refuse_missing_file(wiring.config.store.sqlite_path, WitnessFile(wiring.witness))
    with closing(Database(wiring.config.store.read_url(wiring.environ, wiring.config.base_dir))) as database:
        return database.name, database.integrity_faults()


@group.command("backup")
def backup(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A new file; an existing one is never overwritten.")],
) -> None:
    """Copy the store into one file, while the daemon goes on. The file is verified, and as secret as the store.

    It holds no key: keep a copy of the keyring somewhere else. Sinks and their cursors are not part of it. A backup of
    a PostgreSQL store is a SQLite file, too, and either can be restored into either.

    Example: worker store backup /var/backups/worker-$(date +%F).db
    """
    from worker.config.paths import normal
    from worker.store.backup import back_up

    called = invocation(context)
    wiring = called.wiring()
    report = back_up(wiring.store.database, wiring.sealer, normal(Path(file).absolute()), wiring.clock.now())
    if called.as_json:
        print_json(
            {
                "file": str(report.path),
                "bytes": report.bytes,
                "accounts": report.accounts,
                "schema": report.schema,
                "made_at": rfc3339(report.made_at),
            }
        )
    else:
        say(f"{report.path}: {report.accounts} accounts, {report.bytes} bytes, verified")


@group.command("restore")
def restore(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file that `worker store backup` has made.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Put a backup in the store's place. The daemon must not run. The database that is replaced is kept aside.

    On a terminal it asks first. Refresh tokens that were replaced since the backup are spent: their accounts need
    consent, and those tokens are never sent. Exit code 3 when that is so for any account.

    Example: worker store restore /var/backups/worker-2026-11-20.db
    """
    import sys

    from worker.config.paths import normal
    from worker.store import restore as restoring

    called = invocation(context)
    wiring = called.wiring()
    place = wiring.store_place()
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Replace the store by {file}?", abort=True, err=True)
    report = restoring.restore(place, normal(Path(file).absolute()), wiring.clock.now())
    if called.as_json:
        print_json(_as_document(report))
    else:
        _show(report)
    if report.reconciled.needing or report.reconciled.lost:
        raise typer.Exit(NeedsConsent.exit_code)


def _as_document(report: RestoreReport) -> dict[str, Any]:
    found = report.reconciled
    return {
        "accounts": report.accounts,
        "backed_up_at": rfc3339(found.backed_up_at),
        "kept_aside": None if report.kept_aside is None else str(report.kept_aside),
        "unread": report.unread,
        "marked": [
            {"integration": mark.integration, "account": mark.account, "state": mark.after, "reason": mark.reason}
            for mark in found.marked
        ],
        "lost": found.lost,
        "gone_on": found.kept,
        "witness_missing": found.unwitnessed,
        "runs_interrupted": report.interrupted,
    }


def _show(report: RestoreReport) -> None:
    found = report.reconciled
    made = rfc3339(found.backed_up_at)
    say(f"restored {report.accounts} accounts{f', as backed up at {made}' if made else ''}")
    if report.kept_aside is not None:
        tell(f"the database that was replaced is kept as {report.kept_aside}")
        if not report.unread:
            tell(f"to undo this restore: worker store restore {report.kept_aside}")
    if report.unread:
        tell(f"the witness could not learn from it: {report.unread}")
    if found.unwitnessed:
        tell("there was no witness: which refresh tokens were used since the backup, nobody can tell")
    for mark in found.marked[:_SHOWN]:
        say(f"{mark.integration}/{mark.account} is {mark.after}: {mark.reason}")
        if mark in found.needing:
            say(f"    mend it: worker enroll {mark.integration} {mark.account}")
    if len(found.marked) > _SHOWN:
        say(f"and {len(found.marked) - _SHOWN} more: worker accounts list")
    for label in found.lost:
        say(f"{label} is not in the backup, or not with its last consent")
        say(f"    mend it: worker enroll {label.replace('/', ' ', 1)}")
