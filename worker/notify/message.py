"""What is told, in words and as a document. One message may tell of several things of the same kind: a hundred
accounts that lost their grant within a minute are one list, not a hundred alarms.

Whatever goes out passes the scrubber, as the second fence: the facts were redacted before they were stored.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.clock import rfc3339
from worker.redact import scrub_fields
from worker.store.notifications import FAILING, HELD, INCIDENT, LATE, NEEDS_CONSENT, RECOVERED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.redact import Scrubber
    from worker.store.notifications import Notification

#: Lines of a list that are written out; the document has them all.
_LISTED = 20
#: The words of evidence that belong into a text, in this order.
_TELLING = ("status", "error", "error_description", "fault", "detail", "missing")
_LONGEST = 300
_HEADLINES = {
    NEEDS_CONSENT: "needs consent",
    INCIDENT: "has a fault",
    FAILING: "cannot refresh",
    HELD: "deletions wait for you",
    LATE: "a job is late",
    RECOVERED: "works again",
    "test": "test message",
}


@dataclass(frozen=True)
class Message:
    """One message, ready to be sent: text without secrets."""

    #: The same for the same things told again, so that a receiver can leave a repeated one aside.
    id: str
    event: str
    title: str
    text: str
    #: For programs; see docs/notifications.md.
    document: dict[str, Any]

    @property
    def body(self) -> bytes:
        """The document as it goes over the wire."""
        return json.dumps(self.document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


@dataclass(frozen=True)
class Composer:
    """Makes messages of what waits in the outbox."""

    scrubber: Scrubber
    #: How many jobs of an integration's account wait for somebody.
    jobs_waiting: Callable[[str, str], int]
    #: Where a command has to be typed: the machine's name, and the config file's path; empty when nobody says.
    host: str = ""
    config: str = ""

    def compose(self, items: Sequence[Notification], now: float, mark: str = "") -> Message:
        """One message about things of one kind."""
        event = items[0].event
        told = [self._told(item) for item in items]
        reminder = all(item.facts.get("reminder") for item in items)
        title = " ".join(filter(None, (mark, "Reminder:" if reminder else "", _title(event, items))))
        title = self._clean(title)
        where = f"On: {self.host}, {self.config}" if self.host and self.config else ""
        text = self._clean("\n".join(filter(None, (_text(told), where))))
        document = {
            "type": event,
            "timestamp": rfc3339(now),
            "data": {"title": title, "text": text, "mark": mark, "reminder": reminder, "items": told}
            | {"host": self.host, "config": self.config},
        }
        return Message(_message_id(items), event, title, text, document)

    def _told(self, item: Notification) -> dict[str, Any]:
        facts = item.facts
        waiting = self.jobs_waiting(item.integration, item.account) if item.account and _alarming(item.event) else 0
        return {
            "id": item.uid,
            "integration": item.integration,
            "account": item.account,
            "cause": self._clean(str(facts.get("cause", ""))),
            "reason": self._clean(str(facts.get("reason", ""))),
            "since": rfc3339(facts.get("since", item.created_at)),
            "remedy": self._clean(str(facts.get("remedy", ""))),
            "jobs_waiting": waiting,
            "evidence": self._clean_evidence(facts.get("evidence") or {}),
        }

    def _clean(self, text: str) -> str:
        return self.scrubber(text)

    def _clean_evidence(self, evidence: dict[str, Any]) -> dict[str, Any]:
        scrubbed: dict[str, Any] = {}
        for name, value in scrub_fields(evidence).items():
            scrubbed[name] = [self._plain(each) for each in value] if isinstance(value, list) else self._plain(value)
        return scrubbed

    def _plain(self, value: object) -> object:
        """A value of one word: what has structure becomes JSON text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.scrubber(value if isinstance(value, str) else json.dumps(value))


def _alarming(event: str) -> bool:
    return event in {NEEDS_CONSENT, FAILING}


def _label(item: Notification) -> str:
    return f"{item.integration}/{item.account}" if item.account else item.integration or "worker"


def _title(event: str, items: Sequence[Notification]) -> str:
    labels = list(dict.fromkeys(_label(item) for item in items))
    headline = _HEADLINES.get(event, event)
    if len(labels) == 1:
        return f"{labels[0]}: {headline}"
    return f"{len(labels)} {'accounts' if items[0].account else 'faults'}: {headline}"


def _text(told: Sequence[dict[str, Any]]) -> str:
    if len(told) == 1:
        return "\n".join(_paragraph(told[0]))
    lines = [f"{_name(one)}: {_shortened(one['reason'] or one['cause'])}" for one in told[:_LISTED]]
    if len(told) > _LISTED:
        lines.append(f"and {len(told) - _LISTED} more: worker accounts list")
    remedies = list(dict.fromkeys(one["remedy"] for one in told if one["remedy"]))
    if remedies:
        lines += ["", "What to do:", *remedies[:_LISTED]]
    return "\n".join(lines)


def _paragraph(one: dict[str, Any]) -> list[str]:
    lines = [f"{_name(one)}: {_shortened(one['reason'] or one['cause'])}"]
    words = ", ".join(f"{name} {one['evidence'][name]}" for name in _TELLING if one["evidence"].get(name))
    lines += [f"Evidence: {_shortened(words)}"] if words else []
    lines += [f"Since: {one['since']}"]
    lines += [f"Waiting: {one['jobs_waiting']} job{'' if one['jobs_waiting'] == 1 else 's'}"] * bool(
        one["jobs_waiting"]
    )
    lines += [f"What to do: {one['remedy']}"] if one["remedy"] else []
    return lines


def _name(one: dict[str, Any]) -> str:
    return f"{one['integration']}/{one['account']}" if one["account"] else one["integration"] or "worker"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _message_id(items: Sequence[Notification]) -> str:
    joined = "\n".join(sorted(item.uid for item in items))
    return f"msg_{hashlib.sha256(joined.encode()).hexdigest()[:24]}"
