"""What is told: one thing in full, many as a list, and never a secret."""

from __future__ import annotations

import json
from typing import Any

from worker.notify.command import outline
from worker.notify.message import Composer, Message
from worker.redact import Scrubber
from worker.store.notifications import Notification

NOW = 1_767_225_600.0
FACTS = {
    "cause": "revoked",
    "reason": "the provider refuses the refresh token (invalid_grant)",
    "remedy": "worker enroll arlo acme",
    "since": NOW,
    "evidence": {"status": 400, "error": "invalid_grant"},
}


def item(number: int = 1, account: str | None = "acme", event: str = "needs_consent", **facts: Any) -> Notification:
    return Notification(number, f"uid{number}", NOW, event, "arlo", account, {**FACTS, **facts})


def compose(*items: Notification, mark: str = "", scrubber: Scrubber | None = None) -> Message:
    return Composer(scrubber or Scrubber(), lambda _integration, _account: 2).compose(items, NOW, mark)


def test_one_account_is_told_in_full() -> None:
    """Who, what, why, since when, what waits, what to do."""
    message = compose(item())
    assert message.title == "arlo/acme: needs consent"
    assert message.text.splitlines() == [
        "arlo/acme: the provider refuses the refresh token (invalid_grant)",
        "Evidence: status 400, error invalid_grant",
        "Since: 2026-01-01T00:00:00.000Z",
        "Waiting: 2 jobs",
        "What to do: worker enroll arlo acme",
    ]


def test_document_has_the_same_for_programs() -> None:
    """Type, time, and the items with all their facts."""
    document = json.loads(compose(item()).body)
    assert (document["type"], document["timestamp"]) == ("needs_consent", "2026-01-01T00:00:00.000Z")
    (told,) = document["data"]["items"]
    assert told == {
        "id": "uid1",
        "integration": "arlo",
        "account": "acme",
        "cause": "revoked",
        "reason": FACTS["reason"],
        "since": "2026-01-01T00:00:00.000Z",
        "remedy": "worker enroll arlo acme",
        "jobs_waiting": 2,
        "evidence": {"status": 400, "error": "invalid_grant"},
    }


def test_hundred_accounts_are_one_list() -> None:
    """The text names twenty, the document all of them."""
    message = compose(*(item(number, f"a{number}", remedy=f"worker enroll arlo a{number}") for number in range(100)))
    assert message.title == "100 accounts: needs consent"
    lines = message.text.splitlines()
    assert lines[19].startswith("arlo/a19: ")
    assert lines[20] == "and 80 more: worker accounts list"
    assert len(message.document["data"]["items"]) == 100


def test_mark_stands_before_the_subject() -> None:
    """A drill is no alarm."""
    message = compose(item(), mark="[drill]")
    assert (message.title, message.document["data"]["mark"]) == ("[drill] arlo/acme: needs consent", "[drill]")


def test_reminder_says_that_it_is_one() -> None:
    """In the subject and for programs."""
    message = compose(item(reminder=True))
    assert message.title == "Reminder: arlo/acme: needs consent"
    assert message.document["data"]["reminder"] is True


def test_incident_speaks_of_its_integration() -> None:
    """It belongs to no account, and no job is counted."""
    message = compose(item(account=None, event="incident"))
    assert message.title == "arlo: has a fault"
    assert message.document["data"]["items"][0]["jobs_waiting"] == 0


def test_id_is_the_same_for_the_same_things_alone() -> None:
    """So a receiver knows a repeated message, and takes a longer list for a new one."""
    assert compose(item(1), item(2)).id == compose(item(2), item(1)).id
    assert compose(item(1)).id != compose(item(1), item(2)).id


def test_known_secret_leaves_in_no_part_of_the_message() -> None:
    """Not in reason, evidence (however deep) or remedy, though it had got into the facts."""
    scrubber = Scrubber()
    scrubber.learn("s3cret-refresh-token")
    evidence = {
        "detail": "s3cret-refresh-token",
        "more": {"list": ["s3cret-refresh-token"]},
        "refresh_token": "unknown",
    }
    told = item(reason="got s3cret-refresh-token", remedy="use s3cret-refresh-token", evidence=evidence)
    message = compose(told, scrubber=scrubber)
    everything = message.title + message.text + message.body.decode() + str(outline(message))
    assert "s3cret" not in everything
    assert "unknown" not in everything


def test_outline_names_the_first_item() -> None:
    """For a command that reads no JSON."""
    found = outline(compose(item(), item(2, "beta")))
    assert (found["WORKER_EVENT"], found["WORKER_ACCOUNT"], found["WORKER_COUNT"]) == ("needs_consent", "acme", "2")


def test_message_says_where_the_command_is_to_be_typed() -> None:
    """The machine and the config file: a reader of mail sits at another one."""
    composer = Composer(Scrubber(), lambda _integration, _account: 2, "sync-1", "/etc/worker/config.toml")
    message = composer.compose([item()], NOW)
    assert message.text.splitlines()[-1] == "On: sync-1, /etc/worker/config.toml"
    data = json.loads(message.body)["data"]
    assert (data["host"], data["config"]) == ("sync-1", "/etc/worker/config.toml")


def test_scopes_in_evidence_stay_a_list() -> None:
    """Programs need no second parser."""
    message = compose(item(evidence={"missing_scopes": ["write", "admin"]}))
    assert message.document["data"]["items"][0]["evidence"] == {"missing_scopes": ["write", "admin"]}
