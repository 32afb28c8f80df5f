"""The first steps: a provider, a folder, three consents, the daemon, the first copies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from worker.cli.demo_story.folder import EVERY, INTEGRATION, KEYS, PEOPLE, add_jobs, add_settings
from worker.cli.demo_story.processes import spawn

if TYPE_CHECKING:
    from worker.cli.demo_story.stage import Stage

#: Seconds that an access token lives, and what the provider claims: the client cannot know, it has to be told.
ACCESS_TTL = 3
CLAIMED_TTL = 3600
#: Rows in each collection at the beginning.
ROWS = 300


def start_provider(stage: Stage) -> None:
    """The other side, in a process of its own."""
    stage.launch_provider(["--rows", str(ROWS), "--access-ttl", str(ACCESS_TTL), "--set", f"claimed_ttl={CLAIMED_TTL}"])
    assert stage.provider is not None
    rows = stage.stats()["rows"]
    stage.check(
        all(rows[name] == ROWS for name in KEYS),
        f"OAuth server and XML API, as Arlo's behave, at {stage.addresses['base_url']} (process {stage.provider.pid})",
        rows,
    )
    stage.narrator.note(
        f"An access token lives {ACCESS_TTL} s and claims an hour. A refresh token is good for one use;"
    )
    stage.narrator.note("a second use of one ends the grant.")


def make_folder(stage: Stage) -> None:
    """What an operator does first."""
    stage.command("init", ".")
    add_jobs(stage.folder)
    add_settings(stage.folder, stage.addresses)
    stage.command("config", "check")
    stage.command("secrets", "set", INTEGRATION, "client_secret", given=stage.addresses["client_secret"] + "\n")
    secret = stage.addresses["client_secret"].encode()
    holders = [path.name for path in stage.folder.rglob("*") if path.is_file() and secret in path.read_bytes()]
    stage.check(not holders, "config.toml, worker.key and jobs/arlo.py; the client secret is in no file", holders)


def enrol_everybody(stage: Stage) -> None:
    """Three people consent on the provider's page; the operator pastes where their browser ended up."""
    stage.first_consent = time.monotonic()
    stage.narrator.note(
        "Each opens the link that the command prints, and allows; the operator pastes where that leads."
    )
    for person in PEOPLE:
        stage.consent(INTEGRATION, person)
    found = {one["account"]: one for one in stage.commands.read("accounts", "list")}
    for person in PEOPLE:
        account = found[person]
        stage.progress.accounts[person].state = account["state"]
        stage.progress.accounts[person].generation = account["generation"]
    stage.narrator.show(stage.progress)
    stage.check(
        all(found[person]["state"] == "active" and found[person]["subject"] == person for person in PEOPLE),
        f"{', '.join(PEOPLE)} are enrolled, each as who they say they are",
        {name: (account["state"], account["subject"]) for name, account in found.items()},
    )


def start_daemon(stage: Stage) -> None:
    """The daemon, as a service would run it."""
    stage.narrator.command("worker run")
    stage.daemon = spawn("the daemon", "worker", ["run"], stage.folder, stage.daemon_log)
    stage.narrator.waiting("the daemon starts")
    schedules = ", ".join(f"{job} every {every.removesuffix('s')} s" for job, every in EVERY.items())
    stage.wait(lambda: stage.progress.ready, f"the daemon works (process {stage.daemon.pid}): {schedules}")


def copy_everything(stage: Stage) -> None:
    """The first runs."""
    total = sum(len(stage.source(name)) for name in KEYS) * len(PEOPLE)
    stage.wait(stage.level(), f"{total} rows are in state/data.db, row for row what the source holds")
