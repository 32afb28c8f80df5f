"""The providers from here: name, certificate, answer, and whose clock is right. No credential and no token is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from worker import __version__
from worker.accounts.clock_watch import REMEDY, sentence
from worker.accounts.lone_call import Timeouts, sent
from worker.accounts.network_words import what_happened
from worker.accounts.one_call import Line
from worker.doctor.diagnosis import Diagnosis, Level, of_error
from worker.errors import WorkerError
from worker.jobs.addresses import origin
from worker.oauth.clock_skew import measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.accounts.client import Client
    from worker.doctor.examination import Parts
    from worker.oauth.clock_skew import ClockSkew

_NOT_FOUND, _GONE, _SERVER_ERROR = 404, 410, 500
#: Seconds by which clocks may differ before it is worth a word.
_NOTED = 5.0
#: Seconds that a person is kept waiting for each host, at most, to reach it and again for its answer.
_PATIENCE = 10.0


def examine(parts: Parts) -> Iterator[Diagnosis]:
    """Every endpoint of every integration, each address once; a host that does not answer is asked once."""
    asked: set[str] = set()
    silent: set[str] = set()
    clocks: dict[str, Diagnosis] = {}
    for name in parts.config.integrations:
        subject = f"integrations.{name}"
        try:
            addresses = _addresses(parts.client(name))
        except WorkerError as error:
            yield of_error(subject, error)
            continue
        for what, url in addresses.items():
            host = urlsplit(url).netloc
            if url in asked or host in silent:
                continue
            asked.add(url)
            found = _ask(parts, parts.client(name), f"{subject}.{what}", url)
            yield found.diagnosis
            if not found.answered:
                silent.add(host)
            if found.clock is not None:
                clocks[host] = found.clock
    yield from clocks.values()


def _addresses(client: Client) -> Mapping[str, str]:
    found = {
        "token_url": client.token_url(),
        "authorize_url": client.authorize_url(),
        "revoke_url": client.revoke_url(),
        "identity_url": client.identity_url(),
        "api_base": client.integration.api_base,
    }
    return {what: url for what, url in found.items() if url}


@dataclass(frozen=True)
class _Found:
    """What came of asking one address."""

    diagnosis: Diagnosis
    answered: bool = False
    clock: Diagnosis | None = None


def _ask(parts: Parts, client: Client, subject: str, url: str) -> _Found:
    agent = parts.config.worker.user_agent or f"headless-worker/{__version__}"
    asked_at = parts.clock.now()
    try:
        with sent("GET", url, _patient(client), Line(), headers={"User-Agent": agent}) as response:
            status, fields = response.status_code, response.headers
    except requests.exceptions.SSLError as error:
        message = f"{url} {what_happened(error)}"
        hint = "look at the address and the machine's clock; a private CA goes into REQUESTS_CA_BUNDLE"
        return _Found(Diagnosis(subject, Level.FAULT, message, hint))
    except requests.RequestException as error:
        message = f"{url} {what_happened(error)}"
        return _Found(Diagnosis(subject, Level.LATER, message, "look at DNS, firewall and proxy"))
    skew = measure(fields, origin(url), asked_at=asked_at, answered_at=parts.clock.now())
    return _Found(of_status(subject, url, status), answered=True, clock=of_clock(skew))


def _patient(client: Client) -> Timeouts:
    return Timeouts(min(client.timeouts.connect, _PATIENCE), min(client.timeouts.read, _PATIENCE))


def of_status(subject: str, url: str, status: int) -> Diagnosis:
    """What an answer to a bare request says about an address. That it refuses the request is as it should be."""
    if status in {_NOT_FOUND, _GONE} and not subject.endswith("api_base"):
        hint = f"look at {subject.rpartition('.')[2]} under [{subject.rpartition('.')[0]}]"
        return Diagnosis(subject, Level.FAULT, f"{url} answers {status}: there is nothing at this address", hint)
    if status >= _SERVER_ERROR:
        return Diagnosis(subject, Level.LATER, f"{url} answers {status}", "the provider's status page")
    return Diagnosis(subject, Level.OK, f"{url} answers")


def of_clock(skew: ClockSkew | None) -> Diagnosis | None:
    """What an answer's Date says about the local clock; None when there is nothing to say."""
    if skew is None or abs(skew.ahead) < _NOTED:
        return None
    return Diagnosis("clock", Level.FAULT if skew.wrong else Level.NOTE, sentence(skew), REMEDY)
