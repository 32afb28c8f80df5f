"""Planned faults: what goes wrong, where, and how often.

The difference that matters is *when*: most kinds answer before the request is looked at, so that nothing has changed
on this side. Those in `AFTER` let it take effect first, a rotation is committed, and spoil only the answer: that is
how a refresh token gets lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.sandbox.settings import BadControl

if TYPE_CHECKING:
    from worker.sandbox.messages import Manner

WHERE = ("token", "api")

#: Kinds that let the request take effect and spoil the answer, with the manner of its delivery.
AFTER: dict[str, Manner] = {
    "reset_after": "reset",
    "timeout_after": "hang",
    "half_body": "half",
    "drip": "drip",
    "slow": "whole",
}

#: Kinds that answer instead of the handler; nothing has taken effect. `canned.py` says what each answers.
BEFORE = (
    "http_500",
    "http_503",
    "http_429",
    "html",
    "timeout",
    "reset_before",
    "huge",
    "redirect",
    "garbage",
    "gzip_bomb",
    "unauthorized",
    "forbidden",
    "insufficient_scope",
)
#: … at the token endpoint only, and at the API only.
BEFORE_TOKEN = ("invalid_client", "invalid_grant")
BEFORE_API = ("invalid_token", "expired_token", "xml_bomb")

DEFAULT_DRIP = 0.1
DEFAULT_HUGE = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One planned fault."""

    where: str
    kind: str
    #: How many requests it hits; -1 until cleared.
    times: int = 1
    #: Sent as the Retry-After field, seconds or an HTTP date. Empty sends none.
    retry_after: str = ""
    #: Seconds; see `messages.Delivery`.
    delay: float = 0.0
    #: Replaces the kind's own status where it has one.
    status: int = 0
    #: Where `redirect` points; empty is the same port under another host name.
    location: str = ""
    #: Bytes of `huge` and `gzip_bomb`.
    size: int = DEFAULT_HUGE
    #: Conditions: only this user's requests, this grant type's, paths that contain this.
    user: str = ""
    grant_type: str = ""
    path: str = ""

    def __post_init__(self) -> None:
        if self.where not in WHERE:
            raise BadControl(f"where: {self.where!r} is none of {', '.join(WHERE)}")
        kinds = (*AFTER, *BEFORE, *(BEFORE_TOKEN if self.where == "token" else BEFORE_API))
        if self.kind not in kinds:
            raise BadControl(f"kind: {self.kind!r} is none of {', '.join(sorted(kinds))} at {self.where!r}")
        for name in ("retry_after", "location", "user", "grant_type", "path"):
            if not _is(str, getattr(self, name)):
                raise BadControl(f"{name}: {getattr(self, name)!r} is no text")
        if not _is(int, self.status) or not _is(int, self.size) or self.size < 0:
            raise BadControl("status and size: want whole numbers")
        if not _is(int, self.times) or self.times == 0 or self.times < -1:
            raise BadControl(f"times: {self.times!r} is neither a count from 1 up nor -1 (until cleared)")
        if not _is((int, float), self.delay) or self.delay < 0:
            raise BadControl(f"delay: {self.delay!r} is no number of seconds from 0 up")

    def hits(self, where: str, *, user: str, grant_type: str, path: str) -> bool:
        """Whether a request meets the fault's conditions."""
        return (
            where == self.where
            and self.user in {"", user}
            and self.grant_type in {"", grant_type}
            and self.path in path
        )


def _is(kinds: type | tuple[type, ...], value: object) -> bool:
    """Whether a value that came as JSON has the kind that its annotation claims."""
    return isinstance(value, kinds) and not isinstance(value, bool)


class FaultPlan:
    """The faults to come, first planned first played; guarded by the lock of the state that holds it."""

    def __init__(self) -> None:
        self._planned: deque[Fault] = deque()

    def add(self, fault: Fault) -> None:
        """Plan a fault behind those that are already planned."""
        self._planned.append(fault)

    def clear(self) -> int:
        """Forget all of them; how many there were."""
        count = len(self._planned)
        self._planned.clear()
        return count

    def take(self, where: str, *, user: str = "", grant_type: str = "", path: str = "") -> Fault | None:
        """The fault that this request meets, used up by one; None when it meets none."""
        for place, fault in enumerate(self._planned):
            if not fault.hits(where, user=user, grant_type=grant_type, path=path):
                continue
            if fault.times == 1:
                del self._planned[place]
            elif fault.times > 1:
                self._planned[place] = replace(fault, times=fault.times - 1)
            return fault
        return None

    def shown(self) -> list[dict[str, object]]:
        """The planned faults for display."""
        return [{"where": one.where, "kind": one.kind, "times": one.times} for one in self._planned]
