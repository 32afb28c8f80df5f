"""What stands between a session and the network: leave to send, what answers say of limits, and what is sent again."""

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

    def heard(self, response: requests.Response) -> None:
        """Take in what an answer says about limits: it concerns all who ask the same API."""

    def again(self, outcome: requests.Response | requests.RequestException, attempt: int) -> bool:
        """Whether to send a request again that may be repeated, having waited as is proper.

        Asked after every answer, and after every failure to get one; `attempt` counts from 1.
        """


class NoPace:
    """Every request at once, every answer as it comes."""

    def check(self) -> None:
        """See Pace."""

    def before(self, url: str) -> float | None:  # noqa: ARG002 - the protocol's
        """See Pace."""
        return None

    def heard(self, response: requests.Response) -> None:
        """See Pace."""

    def again(self, outcome: requests.Response | requests.RequestException, attempt: int) -> bool:  # noqa: ARG002 - the protocol's
        """See Pace."""
        return False
