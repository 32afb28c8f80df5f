"""What stands between a session and the network: leave to send, and what to do about "not so fast"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import requests


class Pace(Protocol):
    """Asked before and after every request of a session."""

    def check(self) -> None:
        """Raise DeadlineExceeded or Interrupted when the run must end: no refresh is begun then."""

    def before(self, url: str) -> float | None:
        """Wait for leave to send. Answers the seconds this request may take at most; None for no limit.

        Raises DeadlineExceeded or Interrupted when the run must end.
        """

    def after(self, response: requests.Response, attempt: int) -> bool:
        """Whether to send the same idempotent request again, having waited as long as the answer asks for."""


class NoPace:
    """Every request at once, every answer as it comes."""

    def check(self) -> None:
        """See Pace."""

    def before(self, url: str) -> float | None:  # noqa: ARG002 - the protocol's
        """See Pace."""
        return None

    def after(self, response: requests.Response, attempt: int) -> bool:  # noqa: ARG002 - the protocol's
        """See Pace."""
        return False
