"""`[[notify]]`: ways to reach people. Read and checked; this version does not act on them."""

from __future__ import annotations

from worker.config.kinds import COMMAND, choice, list_of, text
from worker.config.kinds_network import insecure, url
from worker.config.model import NotifyConfig
from worker.config.options import Option, Reading, Section

_WAYS = ("url", "command", "webhook")
_OPTIONS = (
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
        "Instead of url: a command that is run with the event as JSON on its standard input.",
        example="/usr/local/bin/page-somebody",
        alternative=True,
    ),
    Option(
        "webhook",
        url("https://hooks.example.org/worker"),
        "Instead of url: an address the event is posted to, as JSON.",
        example="https://hooks.example.org/worker",
        alternative=True,
    ),
    Option("secret", text(), "Signs what goes to the webhook.", secret=True, alternative=True),
    Option(
        "events",
        list_of(choice("needs_consent", "incident", "recovered", "run_failed"), '["needs_consent", "incident"]'),
        "What to tell.",
        default=["needs_consent", "incident", "recovered"],
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


def _not_yet(reading: Reading) -> None:
    reading.spot.doubt("this version sends no notifications yet; the section is checked and otherwise ignored")


def _build(_name: str, reading: Reading) -> NotifyConfig:
    return NotifyConfig(**reading.values)


NOTIFY = Section(
    "notify", "list", "Who is told what (not in this version).", _OPTIONS, _build, rules=(_one_way, _not_yet)
)
