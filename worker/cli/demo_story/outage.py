"""A grant dies, a human is told, the others go on, the human acts, and what was missed is made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.cli.demo_story.folder import INTEGRATION, KEYS, PEOPLE
from worker.cli.demo_story.rows import sink_counts
from worker.sandbox import give_consent

if TYPE_CHECKING:
    from worker.cli.demo_story.stage import Stage

#: Whose grant it is, and who is not concerned.
VICTIM = "bob"
OTHERS = tuple(person for person in PEOPLE if person != VICTIM)
LABEL = f"{INTEGRATION}/{VICTIM}"
#: Exit code of `worker status` when somebody must consent.
_HUMAN_NEEDED = 3


def revoke_grant(stage: Stage) -> None:
    """An administrator at the provider takes bob's grant away; within one schedule everybody can know."""
    account = stage.progress.accounts[VICTIM]
    stage.pause_until(lambda: not account.running)
    ended = stage.control.revoke(VICTIM)
    stage.check(ended == 1, f"the provider has ended {VICTIM}'s grant; nobody has told the daemon", ended)
    stage.wait(lambda: account.state == "needs_consent", f"the daemon found out and flagged {LABEL}")
    stage.narrator.command(f"worker accounts why {LABEL}")
    story = stage.commands.read("accounts", "why", LABEL)
    flagged = story["timeline"][-1]
    evidence = flagged["evidence"]
    for name, text in (
        ("state", f"{story['state']}, since {story['state_since']}"),
        ("why", story["reason"]),
        ("evidence", f"HTTP {evidence.get('status')}, error={evidence.get('error')}"),
        ("to do", story["remedy"]),
    ):
        stage.narrator.alarm(name, text)
    stage.check(
        flagged["cause"] == "revoked"
        and evidence.get("error") == "invalid_grant"
        and story["remedy"] == f"worker enroll {INTEGRATION} {VICTIM}",
        "cause, evidence and the command that mends it are on record",
        story,
    )
    words = ("enroll", INTEGRATION, VICTIM, "--paste")
    stage.narrator.command(f"worker {' '.join(words)}")
    enrolling = stage.commands.begin(*words)
    link = stage.commands.line(enrolling)
    stage.enrolling = (enrolling, link)
    stage.narrator.link(link)
    stage.check(
        link.startswith(f"{stage.addresses['authorize_url']}?"),
        f"that is the link, for {VICTIM} to open anywhere; the command waits for where it leads",
        link,
    )


def go_on_without(stage: Stage) -> None:
    """Rows change while bob is out. The others get them; bob's runs are skipped, on record, without a token call."""
    before = stage.stats()
    new = {name: stage.control.insert(name, count) for name, count in (("events", 12), ("registrations", 25))}
    stage.control.touch("events", 10, numbers=[row for row in _numbers(stage) if row not in new["events"]][:10])
    missed = sum(map(len, new.values()))
    stage.narrator.note(f"Meanwhile {missed} rows are new at the source, and 10 are changed.")
    stage.wait(stage.level(*OTHERS), f"{' and '.join(OTHERS)} have them all")
    account = stage.progress.accounts[VICTIM]
    stage.wait(lambda: account.skipped == set(KEYS), f"{VICTIM}'s runs, of both jobs, are skipped")
    after, counts = stage.stats(), sink_counts(stage.sink)
    lacking = {name: after["rows"][name] - counts[VICTIM, name] for name in KEYS}
    stage.check(sum(lacking.values()) == missed, f"{VICTIM} lacks the {missed} new rows", lacking)
    stage.check(
        after["token_calls"]["refresh_token"].get("invalid_grant") == 1
        and after["api_users"][VICTIM] == before["api_users"][VICTIM],
        f"the provider was asked once for {VICTIM}'s dead grant, and never since",
        after["token_calls"],
    )
    status = stage.commands.read("status", expected=_HUMAN_NEEDED)
    stage.check(
        status["accounts"] == {"active": len(OTHERS), "needs_consent": 1},
        f"worker status leaves with exit code {_HUMAN_NEEDED}, for whoever watches by script",
        status["accounts"],
    )


def consent_again(stage: Stage) -> None:
    """Bob opens the link; the operator pastes what it led to into the command that waits."""
    assert stage.enrolling is not None
    enrolling, link = stage.enrolling
    stage.narrator.note(f"{VICTIM} opens the link and allows; the operator pastes where his browser ended up.")
    printed = stage.commands.end(enrolling, give_consent(link, VICTIM) + "\n")
    stage.check(f"{LABEL} has consent again" in printed, printed.strip().splitlines()[-1], printed)
    stage.progress.accounts[VICTIM].state = "active"


def catch_up(stage: Stage) -> None:
    """What was missed is made up for without anybody asking."""
    stage.wait(stage.level(VICTIM), f"the missing rows have arrived: {VICTIM}'s are again exactly the source's")
    stage.wait(
        lambda: {run["job"] for run in _runs(stage) if run["trigger"] == "catch_up"} == set(KEYS),
        "by a catch_up run of each job, from its last checkpoint, as soon as consent was there",
    )
    account = stage.commands.read("accounts", "show", LABEL)
    stage.progress.accounts[VICTIM].generation = account["generation"]
    stage.check(account["state"] == "active", f"{LABEL} is active, with its history, cursors and schedules", account)


def _runs(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.commands.read(
        "runs", "list", "--account", LABEL, "--state", "succeeded", "--limit", "1000"
    )
    return found


def _numbers(stage: Stage) -> list[int]:
    return [int(row[KEYS["events"]]) for row in stage.control.rows("events")]
