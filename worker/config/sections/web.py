"""`[web]`: the status page. Read and checked; this version does not act on it."""

from __future__ import annotations

from worker.config.kinds_network import LISTEN, insecure, url
from worker.config.model import WebSection
from worker.config.options import Option, Reading, Section

_OPTIONS = (
    Option("listen", LISTEN, "Where the status page listens.", example="127.0.0.1:8700", aliases=("bind", "address")),
    Option(
        "public_url",
        url("https://worker.example.org"),
        "How people reach it, for links in notifications.",
        example="https://worker.example.org",
        aliases=("url", "base_url"),
    ),
)


def _not_yet(reading: Reading) -> None:
    if reading.given:
        reading.spot.doubt("this version has no status page yet; the section is checked and otherwise ignored")


def _links_are_safe(reading: Reading) -> None:
    address = reading["public_url"]
    if address is not None and insecure(address):
        reading.refuse("public_url", f'plain http: links to consent travel in the clear; write "https{address[4:]}"')


def _build(_name: str, reading: Reading) -> WebSection:
    return WebSection(**reading.values)


WEB = Section(
    "web", "table", "The status page (not in this version).", _OPTIONS, _build, rules=(_not_yet, _links_are_safe)
)
