"""Each integration as a client: its secret, and where answers of the authorization server are sent."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worker.doctor import storage
from worker.doctor.diagnosis import Diagnosis, Level, of_error
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.config.model import Integration
    from worker.doctor.examination import Parts

_LOOPBACK = frozenset({"127.0.0.1", "::1"})


def examine(parts: Parts) -> Iterator[Diagnosis]:
    """Secrets and redirect URIs; nothing is sent."""
    for integration in parts.config.integrations.values():
        subject = f"integrations.{integration.name}"
        yield _of_secret(parts, subject, integration)
        yield from of_redirect_uri(subject, integration)


def _of_secret(parts: Parts, subject: str, integration: Integration) -> Diagnosis:
    if "client_secret" not in integration.secrets and not storage.exists(parts):
        if integration.client_auth == "none":
            return Diagnosis(subject, Level.OK, "a client without a secret")
        return Diagnosis(
            subject,
            Level.FAULT,
            "there is no client secret yet",
            f"worker secrets set {integration.name} client_secret",
        )
    try:
        parts.client(integration.name).credentials()
    except WorkerError as error:
        return of_error(subject, error)
    return Diagnosis(subject, Level.OK, "the client's credentials are there")


def of_redirect_uri(subject: str, integration: Integration) -> Iterator[Diagnosis]:
    """Which ways of enrolling the redirect URI allows, and whether its port can be listened on."""
    if integration.redirect_uri is None:
        return
    address = urlsplit(integration.redirect_uri)
    if address.hostname not in _LOOPBACK:
        named = " (a name may mean another address to the browser, RFC 8252 section 8.3)"
        yield Diagnosis(
            subject,
            Level.NOTE,
            f"redirect_uri leads to {address.hostname}, not to this command:"
            f" enrol with --paste{named if address.hostname == 'localhost' else ''}",
            f"worker enroll {integration.name} ACCOUNT --paste",
        )
        return
    if not address.port:
        return
    family = socket.AF_INET6 if ":" in (address.hostname or "") else socket.AF_INET
    with socket.socket(family) as probe:
        # As the listener of an enrolment does: a connection that has just ended is no other process.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.hostname, address.port))
        except OSError as error:
            yield Diagnosis(
                subject,
                Level.NOTE,
                f"{address.hostname}:{address.port} of redirect_uri cannot be listened on now: {error.strerror}",
                "end what listens there, or enrol with --paste",
            )
