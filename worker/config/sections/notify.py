"""`[[notify]]`: ways to reach people, one table for each."""

from __future__ import annotations

from worker.config.kinds import BOOLEAN, COMMAND, choice, duration, list_of, text
from worker.config.kinds_network import insecure, url
from worker.config.model import NotifyConfig
from worker.config.options import Option, Reading, Section

_WAYS = ("url", "command", "webhook")
#: What can be told, and what is told when nobody says.
EVENTS = ("needs_consent", "incident", "failing", "held", "late", "recovered")
_OPTIONS = (
    Option(
        "name",
        text(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}", "letters, digits, dots, dashes", label="name"),
        "What the route is called in the log, in worker status and in worker notify. Without it: the program, the "
        "host or the kind of URL. A route that is renamed counts as a new one.",
        example="ops",
    ),
    Option(
        "url",
        text(r"[A-Za-z][A-Za-z0-9+.-]*://.*", 'an Apprise URL such as "mailto://ops.example.org"', label="Apprise URL"),
        "Any Apprise URL. One with a password belongs in url_file, url_env or url_command.",
        example="mailto://ops.example.org",
        secret=True,
        quiet=True,
    ),
    Option(
        "command",
        COMMAND,
        "Instead of url: a command that is run with the message as JSON on its standard input.",
        example="/usr/local/bin/page-somebody",
        alternative=True,
    ),
    Option(
        "webhook",
        url("https://hooks.example.org/worker"),
        "Instead of url: an address the message is posted to, as JSON.",
        example="https://hooks.example.org/worker",
        alternative=True,
    ),
    Option(
        "secret",
        text(),
        "Signs what goes to the webhook. Without it, the one from worker notify secret.",
        secret=True,
        alternative=True,
    ),
    Option("sign", BOOLEAN, "false: the webhook gets no signature, and needs no secret.", default=True),
    Option(
        "events",
        list_of(choice(*EVENTS), '["needs_consent", "incident"]'),
        "What to tell: an account needs a human, an integration has a fault, an account's refreshes fail for long, "
        "deletions wait for an approval, a job is late, any of it is over.",
        default=list(EVENTS),
    ),
    Option(
        "integrations",
        list_of(text(), '["arlo"]'),
        "Only what concerns these integrations. Without it: everything.",
        example=["arlo"],
    ),
    Option(
        "remind",
        duration(0, 30 * 86400.0),
        'Tell again, so often, about accounts that still need consent; at most 14 times. "0s" does not.',
        default="24h",
    ),
    Option(
        "mark",
        text(),
        "Put before every subject, to tell several workers apart.",
        example="[staging]",
    ),
)


def _one_way(reading: Reading) -> None:
    given = [way for way in _WAYS if way in reading.given]
    if not given:
        reading.spot.refuse(f"says no way to reach anybody; write one of {', '.join(_WAYS)}")
    for way in given[1:]:
        reading.refuse(way, f'given beside "{given[0]}"; write a second [[notify]] for it')
    address = reading["webhook"]
    if address is not None and insecure(address):
        reading.refuse("webhook", f'plain http can be read on the way; write "https{address[4:]}"')
    if given and given[0] != "webhook" and "secret" in reading.given:
        reading.doubt("secret", f"nothing is signed on the way of {given[0]}; remove it")


def _build(_name: str, reading: Reading) -> NotifyConfig:
    return NotifyConfig(**{**reading.values, "mark": reading["mark"] or ""})


NOTIFY = Section("notify", "list", "Who is told what, and how.", _OPTIONS, _build, rules=(_one_way,))
