"""A trial's folder: config, keyring, database and sink, copied from a template that stands at the newest schema."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fault_harness.provider import REDIRECT, SCOPES
from worker.config.load import load
from worker.crypto.keyring import create_keyring_file, new_key
from worker.redact import Secret
from worker.store.records import Consent, NewTokens
from worker.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.clock import Clock
    from worker.store.records import Account

ACCOUNT = "acme"
#: Rows that the job delivers in all, two with each checkpoint. They have no key: one that comes twice shows.
ROWS = 6
#: Seconds. Generous, so that a busy machine makes no timeouts of its own; a trial of timeouts sets its own.
READ_TIMEOUT = 20.0

_JOB = f'''"""The job of all trials."""

from worker import job


@job(scopes=["read"])
def copy(ctx):
    """Copy rows by twos; the last request is made even when nothing is left."""
    for at in range(ctx.cursor.get("at", 0), {ROWS}, 2):
        ctx.get("registrations")
        ctx.emit("t", [{{"at": at}}, {{"at": at + 1}}])
        ctx.checkpoint(at=at + 2)
    ctx.get("registrations")
'''

_CONFIG = """
[worker]
state_dir = "state"
jobs_path = ["jobs"]
[keyring]
file = "worker.key"
[integrations.api]
client_id = "{client_id}"
scopes = {scopes}
authorize_url = "{authorize_url}"
token_url = "{token_url}"
api_base = "{api_base}"
redirect_uri = "{redirect}"
allow_http = true
read_timeout = "{read_timeout}s"
[jobs.copy]
uses = "copying.copy"
integration = "api"
every = "1h"
retries = 9
sink = "rows"
[sinks.rows]
type = "{sink}"
path = "data"
"""


@dataclass(frozen=True)
class Stored:
    """What stands in the database, read as it is, without the product: after a crash, before anybody recovers."""

    #: By table: rows as name and value.
    tables: Mapping[str, list[dict[str, Any]]]
    #: `CREATE` statements by name.
    schema: Mapping[str, str]
    sound: bool

    @property
    def generation(self) -> int:
        """Of the one account's grant; 0 when there is none."""
        grants = self.tables.get("grant_", [])
        return int(grants[0]["generation"]) if grants else 0

    @property
    def version(self) -> str:
        """The schema's revision; empty before the first."""
        rows = self.tables.get("alembic_version", [])
        return str(rows[0]["version_num"]) if rows else ""


@dataclass(frozen=True)
class Place:
    """One folder."""

    folder: Path

    @property
    def config(self) -> Path:
        """The config file."""
        return self.folder / "config.toml"

    @property
    def database(self) -> Path:
        """The store's file."""
        return self.folder / "state" / "worker.db"

    @property
    def keyring(self) -> Path:
        """The key file."""
        return self.folder / "worker.key"

    def build(self, addresses: Mapping[str, str]) -> None:
        """Make the template: migrated, with the client's secret, without an account. Opens the store."""
        self.folder.mkdir(mode=0o700, parents=True)
        create_keyring_file(self.keyring, [new_key("k1")])
        (self.folder / "jobs").mkdir(mode=0o700)
        (self.folder / "jobs" / "copying.py").write_text(_JOB)
        (self.folder / "jobs" / "copying.py").chmod(0o600)
        self.configure(addresses)
        wiring = self.wiring()
        wiring.store.secrets.set("api", "client_secret", Secret(addresses["client_secret"]), wiring.clock.now())
        wiring.store.close()

    def configure(self, addresses: Mapping[str, str], *, sink: str = "sqlite", read_timeout: float = 0.0) -> None:
        """Write the config file."""
        text = _CONFIG.format(
            **{name: addresses[name] for name in ("client_id", "authorize_url", "token_url")},
            api_base=addresses["api_base"],
            scopes=json.dumps(SCOPES),
            redirect=REDIRECT,
            sink=sink,
            read_timeout=f"{read_timeout or READ_TIMEOUT:g}",
        )
        self.config.write_text(text)
        self.config.chmod(0o600)

    def copy(self, folder: Path) -> Place:
        """The same once more, to be worked on."""
        shutil.copytree(self.folder, folder)
        return Place(folder)

    def wiring(self, clock: Clock | None = None) -> Wiring:
        """The product, put together from the config as its commands do."""
        return Wiring(load(self.config, {}), {}, clock)

    @cached_property
    def rows_path(self) -> Path:
        """Where the job's rows go."""
        return self.folder / "data"

    def rows(self) -> list[int]:
        """What the sink holds, sorted; read without the product."""
        if self.rows_path.is_dir():
            lines = [line for file in self.rows_path.rglob("*.jsonl") for line in file.read_text().splitlines()]
            return sorted(json.loads(line)["at"] for line in lines)
        if not self.rows_path.exists():
            return []
        with closing(sqlite3.connect(self.rows_path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 't'").fetchone():
                return []
            return [at for (at,) in connection.execute("SELECT at FROM t ORDER BY at")]

    def snapshot(self, database: Path) -> Path | None:
        """A copy of a database with its journal: to open one in whose middle somebody died is to repair it."""
        if not database.exists():
            return None
        scene = self.folder / "scene" / database.name
        shutil.rmtree(scene.parent, ignore_errors=True)
        scene.parent.mkdir()
        for suffix in ("", "-journal", "-wal"):
            file = database.with_name(f"{database.name}{suffix}")
            if file.exists():
                shutil.copy(file, scene.with_name(file.name))
        return scene

    def stored(self) -> Stored:
        """The store's database as it is now, untouched."""
        scene = self.snapshot(self.database)
        if scene is None:
            return Stored({}, {}, sound=True)
        return read_database(scene)


def read_database(path: Path) -> Stored:
    """Everything in a database, read without the product."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute("SELECT name, type, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
        tables = {
            row["name"]: [dict(each) for each in connection.execute(f'SELECT * FROM "{row["name"]}"')]
            for row in found
            if row["type"] == "table"
        }
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    return Stored(tables, {row["name"]: row["sql"] for row in found}, sound)


def admit(wiring: Wiring, given: Mapping[str, Any], user: str) -> Account:
    """Store a grant that the provider's control has made, as an enrolment would."""
    now = wiring.clock.now()
    tokens = NewTokens(
        access_token=Secret(given["access_token"]),
        refresh_token=Secret(given["refresh_token"]),
        token_type="Bearer",
        lifetime=given["expires_in"],
        issued_at=now,
        scopes=SCOPES,
    )
    consent = Consent("api", ACCOUNT, tokens, SCOPES, {"subject": user, "label": user}, "by the trial")
    return wiring.store.grants.store_consent(consent, now).account
