"""The error tree. A class says what happens next; its docstring is its message; `hint` is the command to type.

    WorkerError                    1   failed
    ├── UsageFault                 2   the command line is off
    ├── NeedsConsent               3   a human must consent
    │   └── ScopeMissing           3   … to more than before
    ├── TryAgainLater             75   a pause mends it
    │   ├── Busy                  75   another process holds what we need
    │   └── OutOfQuota            75   a rate limit leaves no room for now
    ├── Misconfigured             78   an operator must change something
    │   ├── ConfigProblems        78   … in the config file
    │   ├── KeyUnusable           78   … about the encryption key
    │   └── StoreUnusable         78   … about the database
    ├── AccountPaused              1   an operator has set the account aside
    ├── EnrolmentFailed            1   an enrolment ended without a grant; an existing one is untouched
    ├── JobUnusable               78   a job's file cannot be loaded
    ├── BodyNotReplayable          1   the request body was a stream that has been consumed
    ├── RunEnded                   1   a run was stopped from outside
    │   ├── DeadlineExceeded       1   its timeout passed
    │   ├── Interrupted            1   the process is shutting down
    │   └── FenceLost              1   a newer run of the same job and account has begun, or it was reset
    └── TamperedSecret            78   a ciphertext does not belong where it was found

Exit codes: 0 done, 1 failed, 2 usage, 3 a human must consent, 75 try again later (sysexits
EX_TEMPFAIL), 78 configuration (EX_CONFIG).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class WorkerError(Exception):
    """Something failed."""

    #: What the process answers when this error ends it.
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", *, hint: str = "", evidence: Mapping[str, object] | None = None) -> None:
        #: One sentence that names the place and what was found. Never holds a secret.
        self.message = message or inspect.cleandoc(type(self).__doc__ or "").splitlines()[0]
        #: The command to type, or what to change. Empty when there is nothing to advise.
        self.hint = hint
        #: Redacted facts for the timeline and the logs.
        self.evidence: dict[str, object] = dict(evidence or {})
        super().__init__(self.message)


class UsageFault(WorkerError):
    """The command line is off."""

    exit_code = 2


class NeedsConsent(WorkerError):
    """A human must consent again."""

    exit_code = 3


class ScopeMissing(NeedsConsent):
    """The grant does not cover what this request needs."""

    def __init__(
        self,
        message: str = "",
        *,
        missing: Sequence[str] = (),
        hint: str = "",
        evidence: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        #: The scopes the provider asked for, as far as it named them.
        self.missing = tuple(missing)


class TryAgainLater(WorkerError):
    """A pause mends it."""

    exit_code = 75

    def __init__(
        self,
        message: str = "",
        *,
        after: float | None = None,
        hint: str = "",
        evidence: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        #: Seconds to wait at least; None when the other side named no time.
        self.after = after


class Busy(TryAgainLater):
    """Another process holds what we need."""


class OutOfQuota(TryAgainLater):
    """A rate limit leaves no room for another request for now."""


class Misconfigured(WorkerError):
    """An operator must change something."""

    exit_code = 78


def listed(name: str, problems: Sequence[tuple[str, str]]) -> str:
    """Problems as people read them: how many there are in what, then a line each, place and sentence."""
    width = max((len(place) for place, _ in problems), default=0)
    count = len(problems)
    lines = [f"{name}: {count} problem{'' if count == 1 else 's'}"]
    return "\n".join([*lines, *(f"  {place:<{width}}  {what}" for place, what in problems)])


class ConfigProblems(Misconfigured):
    """The configuration has faults."""

    def __init__(
        self, path: str, problems: Sequence[tuple[str, str]], *, hint: str = "worker config check", also: str = ""
    ) -> None:
        #: Pairs of place (`integrations.arlo.scope`) and what is wrong there, with what would be right.
        self.problems = tuple(problems)
        # `also`: a list of what is wrong elsewhere, found along with it.
        super().__init__("\n".join(filter(None, (listed(path, self.problems), also))), hint=hint)


class KeyUnusable(Misconfigured):
    """The encryption key cannot be used."""


class StoreUnusable(Misconfigured):
    """The store cannot be used."""


class JobUnusable(Misconfigured):
    """A job's file cannot be loaded."""


class TamperedSecret(Misconfigured):
    """A sealed value does not belong where it was found."""


class AccountPaused(WorkerError):
    """The account is paused."""


class EnrolmentFailed(WorkerError):
    """The enrolment ended without a grant."""


class BodyNotReplayable(WorkerError):
    """The access token was refreshed, but the request's body is a stream that has already been consumed."""


class RunEnded(WorkerError):
    """The run was stopped from outside."""


class DeadlineExceeded(RunEnded):
    """The run's timeout passed."""


class Interrupted(RunEnded):
    """The process is shutting down."""

    def __init__(self, message: str = "", *, after: float = 0.0) -> None:
        super().__init__(message)
        #: Seconds for which the API does not want to hear of us; 0 when it did not say.
        self.after = after


class FenceLost(RunEnded):
    """A newer run of this job and account has begun, or the job was reset; this one's results are refused."""
