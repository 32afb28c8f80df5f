"""The end: the daemon stops, and the figures of the store, the sink and the provider have to agree."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.cli.demo_story.folder import INTEGRATION, KEYS, PEOPLE
from worker.cli.demo_story.opening import ACCESS_TTL
from worker.cli.demo_story.outage import OTHERS, VICTIM
from worker.cli.demo_story.processes import ending
from worker.cli.demo_story.rows import sink_counts

if TYPE_CHECKING:
    from worker.cli.demo_story.stage import Stage

#: More runs than half a minute can make.
_ALL = "10000"
#: Consents that the story has given.
_CONSENTS = {person: 2 if person == VICTIM else 1 for person in PEOPLE}
#: Columns that make sense as a sum.
_SUMMED = (
    "runs", "failed", "skipped", "made_up", "rows", "source", "refreshes", "consents", "flags", "token_calls",
)  # fmt: skip
#: Of the closing table; `runs` are those that succeeded, `made_up` those among them that caught up.
COLUMNS = ("account", "state", *_SUMMED)


@dataclass(frozen=True)
class Figures:
    """What the store and the provider say when all is over."""

    accounts: dict[str, dict[str, Any]]
    timelines: dict[str, list[dict[str, Any]]]
    runs: list[dict[str, Any]]
    #: The provider's counters.
    stats: dict[str, Any]

    @property
    def refreshes(self) -> dict[str, int]:
        """Refreshes that the provider granted, by account."""
        return {person: int(self.stats["refreshes"].get(person, 0)) for person in PEOPLE}

    def recorded(self, person: str) -> int:
        """Refreshes on an account's own record."""
        return sum(entry["kind"] == "refreshed" for entry in self.timelines[person])

    def flags(self, person: str) -> int:
        """How often an account came to need a human."""
        return sum(entry["after"] == "needs_consent" != entry["before"] for entry in self.timelines[person])


def stop_daemon(stage: Stage) -> None:
    """SIGTERM, as systemd sends it."""
    assert stage.daemon is not None
    daemon, stage.daemon = stage.daemon, None
    code = daemon.stop()
    stage.check(code == 0, "on SIGTERM it let its runs finish and left with exit code 0", ending(code))
    stage.progress.read()
    stage.command("store", "check")
    stage.check(stage.level()(), "the store is sound, and every account's rows are exactly the source's")


def add_up(stage: Stage) -> list[dict[str, object]]:
    """Check the figures against each other; the closing table, one row an account and their sum."""
    figures = _collect(stage)
    rows = _table(stage, figures)
    _check_refreshes(stage, figures)
    _check_calls(stage, figures, rows)
    _check_runs(stage, figures.runs)
    return rows


def _collect(stage: Stage) -> Figures:
    commands = [("accounts", "list"), ("runs", "list", "--limit", _ALL)]
    commands += [("accounts", "why", f"{INTEGRATION}/{person}") for person in PEOPLE]
    accounts, runs, *stories = stage.commands.read_all(*commands)
    return Figures(
        {account["account"]: account for account in accounts},
        {story["account"]: story["timeline"] for story in stories},
        runs,
        stage.stats(),
    )


def _table(stage: Stage, figures: Figures) -> list[dict[str, object]]:
    counts = sink_counts(stage.sink)
    rows: list[dict[str, object]] = []
    for person in PEOPLE:
        own = [run for run in figures.runs if run["account"] == person]
        states = Counter(run["state"] for run in own)
        refreshes, flags = figures.refreshes[person], figures.flags(person)
        row: dict[str, object] = {"account": f"{INTEGRATION}/{person}", "state": figures.accounts[person]["state"]}
        row |= {
            "runs": states["succeeded"],
            "failed": states["failed"],
            "skipped": states["skipped"],
            "made_up": sum(run["trigger"] == "catch_up" and run["state"] == "succeeded" for run in own),
            "rows": sum(counts.get((person, name), 0) for name in KEYS),
            "source": sum(int(figures.stats["rows"][name]) for name in KEYS),
            "refreshes": refreshes,
            "consents": _CONSENTS[person],
            "flags": flags,
            "token_calls": refreshes + _CONSENTS[person] + flags,
        }
        rows.append(row)
    total = {name: sum(int(str(row[name])) for row in rows) for name in _SUMMED}
    return [*rows, {"account": "all", "state": "", **total}]


def _check_refreshes(stage: Stage, figures: Figures) -> None:
    refreshes = figures.refreshes
    generations = {person: figures.accounts[person]["generation"] for person in PEOPLE}
    stage.check(
        all(generations[person] == refreshes[person] + _CONSENTS[person] for person in PEOPLE),
        "each grant's generation is its consents and refreshes: no token was lost, none taken twice",
        (generations, refreshes),
    )
    recorded = {person: figures.recorded(person) for person in PEOPLE}
    stage.check(
        recorded == refreshes,
        f"the {sum(recorded.values())} refreshes on record are the {sum(refreshes.values())} that the provider made",
        (recorded, refreshes),
    )
    lifetimes = int((time.monotonic() - stage.first_consent) / ACCESS_TTL)
    refused = sum(figures.stats["rejections"].values())
    stage.check(
        max(refreshes.values()) <= lifetimes and sum(refreshes.values()) < refused,
        "no account refreshed more than once in a token's lifetime, nor without a refusal before",
        {"refreshes": refreshes, "lifetimes": lifetimes, "refusals": refused},
    )


def _check_calls(stage: Stage, figures: Figures, rows: list[dict[str, object]]) -> None:
    stats = figures.stats
    calls, all_calls, consents = stats["token_calls"], stats["token_calls_total"], sum(_CONSENTS.values())
    granted = sum(figures.refreshes.values())
    expected = {
        "authorization_code": {"granted": consents},
        "refresh_token": {"granted": granted, "invalid_grant": 1},
    }
    stage.check(
        calls == expected and all_calls == rows[-1]["token_calls"],
        f"{all_calls} token calls: {consents} codes, {granted} refreshes, 1 refused (the revoked grant)",
        calls,
    )
    stage.check(
        stats["reuse_detected"] == 0 and stats["ended_grants"] == {"revoked": 1},
        "no refresh token was ever used twice",
        (stats["reuse_detected"], stats["ended_grants"]),
    )


def _check_runs(stage: Stage, runs: list[dict[str, Any]]) -> None:
    others = [run for run in runs if run["account"] in OTHERS and run["state"] != "succeeded"]
    stage.check(not others, f"not one run of {' or '.join(OTHERS)} failed or was skipped", others)
    states = Counter(run["state"] for run in runs)
    reasons = {run["error"] or "" for run in runs if run["state"] in {"failed", "skipped"}}
    stage.check(
        set(states) == {"succeeded", "failed", "skipped"} and all("invalid_grant" in reason for reason in reasons),
        f"{VICTIM}'s failed and skipped runs all name the revoked grant as their reason",
        (dict(states), reasons),
    )
