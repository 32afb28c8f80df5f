"""Patience while a consent that was just given waits to be stored: with the store, and with the identity URL.

A code is redeemed once and an imported refresh token is spent by its proof: from then on this process holds the only
copy. That the store could be written a second before proves nothing about now. So the storing is tried again, with
pauses, for a quarter of an hour, and the operator is told what is going on and what he can do about it. Who consented
is asked for ten seconds only: without an answer, the enrolment decides.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

from worker.accounts.keeping import PAUSES
from worker.accounts.who import NotTold
from worker.errors import EnrolmentFailed, Misconfigured, TryAgainLater, UsageFault

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_Stored = TypeVar("_Stored")
#: Seconds between the tries of one who stands by: first as for a refresh, then every ten, for a quarter of an hour.
STANDING_BY = PAUSES + (10.0,) * 87
#: Seconds between the tries of who asks who consented: somebody sits and waits.
ASKING = (1.0, 3.0, 6.0)


class Patience:
    """Tries again until it works, or until the pauses are used up, or the operator insists."""

    def __init__(self, pauses: tuple[float, ...] = STANDING_BY, sleep: Callable[[float], None] = time.sleep) -> None:
        self._pauses = pauses
        self._sleep = sleep

    def until_told(self, ask: Callable[[], _Stored]) -> _Stored:
        """What `ask` answers. Raises NotTold when it did not come to that, and what is worse at once."""
        for pause in ASKING:
            try:
                return ask()
            except NotTold as error:
                if not error.passing:
                    raise
                log.warning("who consented is not known yet; asking again", extra={"error": error.message})
            self._sleep(pause)
        return ask()

    def until_stored(self, store: Callable[[], _Stored]) -> _Stored:
        """What `store` answers. Raises EnrolmentFailed when the consent is lost, and what is no fault of the store."""
        told, insisting = "", 0
        for pause in (*self._pauses, None):
            try:
                return store()
            except (Misconfigured, TryAgainLater, UsageFault) as error:
                if pause is None:
                    raise _lost(error.message, error.hint) from error
                if error.message != told:
                    told = error.message
                    _tell(error.message, error.hint)
            except KeyboardInterrupt:
                insisting = _insist(insisting)
            try:
                self._sleep(pause or 0)
            except KeyboardInterrupt:
                insisting = _insist(insisting)
        raise _lost(told or "the command was interrupted", "")


def _tell(words: str, hint: str) -> None:
    log.critical(
        "consent was given, but cannot be stored yet; this process alone has it, and goes on trying: do not end it",
        extra={"error": words, "hint": hint},
    )


def _insist(before: int) -> int:
    if before:
        raise _lost("the command was interrupted", "") from None
    log.critical("what was consented to is not stored yet: press Ctrl-C again to lose it")
    return before + 1


def _lost(words: str, hint: str) -> EnrolmentFailed:
    return EnrolmentFailed(
        f"consent was given, but could not be stored, and is lost: {words}",
        hint=f"{hint}; then start the enrolment again" if hint else "start the enrolment again",
    )
