"""What else goes wrong while the process is being stopped: the columns of the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fault_harness.provider import Provider

#: Seconds: the read timeout of trials in which the provider stays silent.
_IMPATIENT = 0.3


@dataclass(frozen=True)
class Fault:
    """One way in which the provider, or the disk, lets the operation down."""

    name: str
    #: As the table's legend says it.
    words: str
    #: What the sandbox plays at the next call of its token endpoint; empty for nothing.
    plays: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Seconds for which the provider answers a spent token with what replaced it.
    grace: float = 0.0
    #: Seconds for which we wait for an answer; 0 is the harness's own.
    read_timeout: float = 0.0
    #: The grant is dead at the provider before we begin, or ends there when a new one is made.
    ended: bool = False
    #: The disk fills up as the outcome is about to be stored, for two tries.
    disk_full: bool = False

    def plan(self, provider: Provider) -> None:
        """Make the provider misbehave once, from now on."""
        provider.quiet(grace=self.grace)
        if self.plays:
            provider.control.fault("token", self.plays, **self.options)


NONE = Fault("none", "the provider answers")
GRACE = Fault("grace", "the provider takes a spent token for 60 s more", grace=60.0)
RESET_BEFORE = Fault("reset_before", "connection reset, nothing done", plays="reset_before")
RESET_AFTER = Fault("reset_after", "rotated, then connection reset", plays="reset_after")
TIMEOUT = Fault("timeout", "no answer, nothing done", plays="timeout", read_timeout=_IMPATIENT)
TIMEOUT_AFTER = Fault("timeout_after", "rotated, then no answer", plays="timeout_after", read_timeout=_IMPATIENT)
TIMEOUT_GRACE = Fault(
    "timeout_grace", "as before, with 60 s of grace", plays="timeout_after", read_timeout=_IMPATIENT, grace=60.0
)
HALF_BODY = Fault("half_body", "rotated, half of the answer", plays="half_body")
HTTP_500 = Fault("http_500", "500, nothing done", plays="http_500")
HTTP_429 = Fault("http_429", "429 with Retry-After, nothing done", plays="http_429", options={"retry_after": "2"})
INVALID_GRANT = Fault("invalid_grant", "invalid_grant, once", plays="invalid_grant")
INVALID_CLIENT = Fault("invalid_client", "invalid_client, once", plays="invalid_client")
ENDED = Fault("ended", "the grant has been ended at the provider", ended=True)
DISK_FULL = Fault("disk_full", "the disk is full at the commit, for two tries", disk_full=True)
#: Of a restore alone.
NEWEST = Fault("newest", "nothing was refreshed since the backup")
