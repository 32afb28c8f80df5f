"""What happened, counted: the figures that tests assert and the demo prints at its end."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counters; guarded by the lock of the state that holds them."""

    #: grant type to outcome (`granted`, an OAuth error code, `fault:<kind>`) to count.
    token_calls: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    #: Successful refreshes by user.
    refreshes: Counter[str] = field(default_factory=Counter)
    #: API answers by status code.
    api_requests: Counter[str] = field(default_factory=Counter)
    #: API requests with an accepted token, by user.
    api_users: Counter[str] = field(default_factory=Counter)
    #: Access tokens refused, by error code.
    rejections: Counter[str] = field(default_factory=Counter)
    #: Decisions on the consent page: allowed, refused.
    consents: Counter[str] = field(default_factory=Counter)
    #: Reasons for which grants ended.
    ended_grants: Counter[str] = field(default_factory=Counter)
    #: Faults played, as `where:kind`.
    faults: Counter[str] = field(default_factory=Counter)
    #: Requests that followed a redirect to another origin: all, and those that brought credentials along.
    elsewhere: Counter[str] = field(default_factory=Counter)
    #: Spent refresh tokens that were presented again outside a grace period.
    reuse_detected: int = 0
    #: Spent refresh tokens that were answered out of the grace period.
    grace_repeats: int = 0
    revocations: int = 0
    token_calls_now: int = 0
    peak_concurrent_token_calls: int = 0

    def enter_token_call(self) -> None:
        """A token call begins."""
        self.token_calls_now += 1
        self.peak_concurrent_token_calls = max(self.peak_concurrent_token_calls, self.token_calls_now)

    def leave_token_call(self) -> None:
        """A token call is answered."""
        self.token_calls_now -= 1

    def shown(self) -> dict[str, object]:
        """The counters as JSON-ready values."""
        return {
            "token_calls": {grant_type: dict(outcomes) for grant_type, outcomes in self.token_calls.items()},
            "token_calls_total": sum(outcomes.total() for outcomes in self.token_calls.values()),
            "refreshes": dict(self.refreshes),
            "refreshes_total": self.refreshes.total(),
            "api_requests": dict(self.api_requests),
            "api_requests_total": self.api_requests.total(),
            "api_users": dict(self.api_users),
            "rejections": dict(self.rejections),
            "consents": dict(self.consents),
            "ended_grants": dict(self.ended_grants),
            "faults": dict(self.faults),
            "elsewhere": dict(self.elsewhere),
            "reuse_detected": self.reuse_detected,
            "grace_repeats": self.grace_repeats,
            "revocations": self.revocations,
            "peak_concurrent_token_calls": self.peak_concurrent_token_calls,
        }
