"""What the store hands out: frozen records, free of any database. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.states import USABLE, AccountState, RunState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.redact import Secret

#: What the outbox says of a notification that was over before a route was told; no fault of the route.
OVER = "over before it was told"
#: The one cause of `needs_consent` in which the grant itself still works: it lacks a scope that one job needs.
SCOPE_MISSING = "insufficient_scope"
#: The cause of a refusal that nothing of ours explains.
REVOKED = "revoked"
#: The cause of `in_doubt` while a refusal is not acted on, because many accounts were refused at the same time.
HELD = "held"

#: The kind of the incident that a wrong clock is: ours, or the authorization server's.
CLOCK_SKEW = "clock_skew"
#: … that values of a column have become of another kind.
SCHEMA_CHANGE = "schema_change"


def consent_remedy(integration: str, account: str, cause: str, scopes: Sequence[str] = ()) -> str:
    """What to type for an account that needs consent. A scope is asked for only when the integration names it."""
    enroll = f"worker enroll {integration} {account}"
    if cause != SCOPE_MISSING:
        return enroll
    named = " and ".join(f'"{scope}"' for scope in scopes) or "the scope"
    return f"first add {named} to scopes under [integrations.{integration}], then: {enroll}"


@dataclass(frozen=True)
class Account:
    """One enrolled resource owner of an integration."""

    id: int
    uid: str
    integration: str
    name: str
    state: AccountState
    cause: str
    reason: str
    state_since: float
    created_at: float

    @property
    def label(self) -> str:
        """`integration/account`, as people write it."""
        return f"{self.integration}/{self.name}"

    @property
    def usable(self) -> bool:
        """Whether jobs may use its grant: also one that merely lacks a scope, for the jobs that do not need it."""
        if self.cause == HELD:
            return False
        return self.state in USABLE or (self.state is AccountState.NEEDS_CONSENT and self.cause == SCOPE_MISSING)


@dataclass(frozen=True)
class Grant:
    """What an account consented to, with the access token in hand."""

    account: Account
    generation: int
    access_token: Secret | None
    token_type: str
    scopes: tuple[str, ...]
    requested_scopes: tuple[str, ...]
    issued_at: float
    #: Seconds; None when the provider named none.
    lifetime: float | None
    consented_at: float
    refreshed_at: float | None
    refused_generation: int | None
    failures: int
    failing_since: float | None
    not_before: float | None
    #: A refresh was begun and its outcome never stored.
    intent_started_at: float | None
    has_refresh_token: bool
    #: The API has taken the refused generation's token elsewhere since.
    refused_alive: bool = False
    #: When the attempt of that refresh began which nobody has seen the end of.
    attempt_begun_at: float | None = None
    #: Its refusal is held: no call but the canary's until that has told.
    held: bool = False
    #: There is an access token, but it does not open: why.
    unreadable: str = ""
    #: When somebody was last told that its refreshes have been failing for long.
    alerted_at: float | None = None

    @property
    def expires_at(self) -> float | None:
        """When the access token lapses; None when unknown."""
        return None if self.lifetime is None else self.issued_at + self.lifetime


@dataclass(frozen=True)
class NewTokens:
    """The tokens of one answer, as they are to be stored."""

    access_token: Secret
    #: None keeps the old one (RFC 6749, section 6).
    refresh_token: Secret | None
    token_type: str
    lifetime: float | None
    #: When the request for them was sent: lifetimes count from there, which errs on the safe side.
    issued_at: float
    #: None keeps the old ones.
    scopes: tuple[str, ...] | None


@dataclass(frozen=True)
class Consent:
    """A finished enrolment, as it is to be stored."""

    integration: str
    account: str
    tokens: NewTokens
    requested_scopes: tuple[str, ...]
    #: Who consented: `subject`, `label`, `issuer`; empty when the provider does not say.
    identity: dict[str, str] = field(default_factory=dict)
    how: str = ""


@dataclass(frozen=True)
class Finding:
    """Why something was decided: a word for programs, a sentence for people, and redacted evidence."""

    cause: str
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TimelineEntry:
    """One thing that happened to an account."""

    at: float
    kind: str
    before: str | None
    after: str | None
    cause: str
    message: str
    evidence: dict[str, Any]
    generation: int | None
    run_id: str | None


@dataclass(frozen=True)
class Incident:
    """A fault of the integration, not of one account."""

    integration: str
    kind: str
    opened_at: float
    last_at: float
    closed_at: float | None
    occurrences: int
    cause: str
    remedy: str
    evidence: dict[str, Any]
    not_before: float | None


@dataclass(frozen=True)
class Failing:
    """An account whose refreshes have been failing for long."""

    account: Account
    since: float
    attempts: int
    #: What the last attempt met, redacted.
    last_answer: str
    #: `failing for 6 h, 14 attempts, last answer …`
    words: str


@dataclass(frozen=True)
class Due:
    """A job and account whose time has come."""

    job: str
    account: Account
    next_due: float | None
    trigger: str
    fence: int
    attempts: int
    run_id: str | None
    missed_since: float | None
    last_success: float | None
    parked: str
    #: How many runs in a row took their process with them.
    crashes: int = 0
    #: It has to wait until then: the other side wants to be left alone, or it took its process with it.
    not_before: float | None = None


@dataclass(frozen=True)
class Backfill:
    """A job run for a window of time, beside its live runs."""

    #: The job's name with the window behind it.
    job: str
    account: Account
    running: bool
    last_started: float
    #: When it came to its end; None as long as it has not.
    done_at: float | None


@dataclass(frozen=True)
class Claim:
    """The right to make one attempt of one run; void as soon as a newer fence exists."""

    run_id: str
    job: str
    account: Account
    fence: int
    attempt: int
    trigger: str
    due_at: float | None


@dataclass(frozen=True)
class RunCounts:
    """What a run did."""

    rows: int = 0
    requests: int = 0
    refreshes: int = 0
    #: Rows that complete listings took away, and those that are held until somebody approves.
    deleted: int = 0
    held: int = 0


@dataclass(frozen=True)
class Run:
    """One execution of one job for one account."""

    id: str
    job: str
    integration: str
    account: str
    state: RunState
    trigger: str
    attempt: int
    fence: int
    due_at: float | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    counts: RunCounts
    error: str | None
    holder: str
    #: What is unusual about it; empty when nothing is.
    note: str = ""
    #: How the shape of its rows differs from before, one sentence each.
    drift: tuple[str, ...] = ()
