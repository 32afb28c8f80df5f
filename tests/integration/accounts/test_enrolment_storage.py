"""A consent is spent the moment its code is redeemed: a store that fails just then must not cost it."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from account_house import REDIRECT, House

from worker.accounts.enrolment import Choices, Enrolment
from worker.accounts.patience import STANDING_BY, Patience
from worker.errors import Busy, EnrolmentFailed, TryAgainLater
from worker.redact import Secret
from worker.sandbox import give_consent
from worker.store.locks import account_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL = (
    "CREATE TRIGGER full BEFORE {what} ON grant_ BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    "DROP TRIGGER full",
)


def execute(house: House, statement: str) -> None:
    with house.store.database.write() as session:
        session.connection().exec_driver_sql(statement)


class Pauses:
    """Stands for the time between two tries: at the given one somebody makes room."""

    def __init__(self, house: House, mended_at: int = 3) -> None:
        self.count = 0
        self._house = house
        self._mended_at = mended_at

    def __call__(self, _seconds: float) -> None:
        self.count += 1
        if self.count == self._mended_at:
            execute(self._house, FULL[1])


@pytest.fixture
def patient(house: House) -> Callable[..., Pauses]:
    """Makes the store refuse grants from now on, and the enrolment wait in these pauses."""

    def make(what: str = "INSERT", tries: int = 5, **settings: int) -> Pauses:
        execute(house, FULL[0].format(what=what))
        pauses = Pauses(house, **settings)
        patience = Patience((0.0,) * tries, pauses)
        house.enrolment = Enrolment(house.store, house.clock, house.events, house.scrubber, patience)
        return pauses

    return make


def code_exchanges(house: House) -> int:
    return sum(house.sandbox.stats()["token_calls"].get("authorization_code", {}).values())


def test_code_is_redeemed_once_and_stored_when_there_is_room(house: House, patient) -> None:
    """The answer is kept in memory; nobody has to consent again."""
    pauses = patient()
    enrolled = house.consent()
    assert (enrolled.created, enrolled.grant.generation, pauses.count) == (True, 1, 3)
    assert code_exchanges(house) == 1
    assert house.session(house.account()).get("events/").status_code == 200


def test_imported_token_is_spent_once_and_stored_when_there_is_room(house: House, patient, sandbox) -> None:
    """Its proof has rotated it: the only copy of its successor is here."""
    issued = sandbox.grant("acme", ["offline_access", "read", "all_claims"])
    patient()
    house.enrolment.import_refresh_token(house.client, "acme", Secret(issued["refresh_token"]), Choices())
    assert (house.refresh_calls, sandbox.stats()["reuse_detected"]) == (1, 0)
    assert house.refresh(house.account()).generation == 2


def test_new_consent_of_an_account_waits_for_room_under_its_lock(house: House, patient) -> None:
    """A refresh of the old grant cannot come in between a try and its success; that grant is untouched until then."""
    account = house.enrol()
    patient("UPDATE OF sealed_refresh_token")
    assert house.consent().grant.generation == 2
    with house.store.locks.hold(account_lock(account.id), patience=0):
        assert house.refresh_token() != ""


def test_operator_is_told_what_is_going_on_once(house: House, patient, caplog: pytest.LogCaptureFixture) -> None:
    """What is the matter, that this process alone has the consent, and what to do; not again with every try."""
    patient()
    with caplog.at_level(logging.CRITICAL):
        house.consent()
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "this process alone has it" in record.message
    assert "do not end it" in record.message
    assert "disk is full" in record.error
    assert "free some space" in record.hint


def test_consent_that_could_not_be_stored_for_long_is_said_to_be_lost(house: House, patient) -> None:
    """Bounded: a quarter of an hour. Nothing is stored, and the next step is named."""
    patient(mended_at=99)
    with pytest.raises(EnrolmentFailed, match=r"could not be stored, and is lost: .*disk is full") as caught:
        house.consent()
    assert caught.value.hint.endswith("then start the enrolment again")
    assert house.store.accounts.list() == []


def test_patience_lasts_a_quarter_of_an_hour() -> None:
    """Long enough to find and delete something large."""
    assert 890 < sum(STANDING_BY) < 930


def test_first_interrupt_warns_and_the_second_ends_it(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Ctrl-C costs the consent: so it has to be meant."""

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    def full() -> None:
        raise TryAgainLater("the disk is full")

    with caplog.at_level(logging.CRITICAL), pytest.raises(EnrolmentFailed, match="interrupted"):
        Patience((0.0,) * 5, interrupt).until_stored(full)
    assert "press Ctrl-C again to lose it" in caplog.messages[-1]


def test_interrupt_in_the_middle_of_a_try_does_not_end_it() -> None:
    """The try is made again: it may have been committed already, and storing it twice does no harm."""
    tries = iter([KeyboardInterrupt, None])

    def store() -> str:
        failure = next(tries)
        if failure is not None:
            raise failure
        return "stored"

    assert Patience((0.0,) * 5, lambda _: None).until_stored(store) == "stored"


def test_code_is_not_redeemed_when_the_locks_cannot_be_had(house: House) -> None:
    """Another process enrols this account: found before anything is spent."""
    attempt = house.begin()
    back = give_consent(attempt.url, "acme")
    with _other_process_enrols(house):
        waiting = threading.Thread(target=_finish_quietly, args=(house, attempt, back))
        waiting.start()
        waiting.join(0.3)
        assert (waiting.is_alive(), code_exchanges(house)) == (True, 0)
    waiting.join()
    assert (code_exchanges(house), attempt.expected.redirect_uri) == (1, REDIRECT)


@contextmanager
def _other_process_enrols(house: House) -> Iterator[None]:
    with house.store.locks.hold("enrol-arlo-acme"):
        yield


def _finish_quietly(house: House, attempt, back: str) -> None:
    house.enrolment.finish(attempt, back, Choices())


def test_account_lock_that_is_held_for_long_costs_nothing(house: House) -> None:
    """Busy is no end either: the tokens wait."""
    answers = iter([Busy("account-1 is held by another process"), None])

    def store() -> str:
        failure = next(answers)
        if failure is not None:
            raise failure
        return "stored"

    assert Patience((0.0,) * 2, lambda _: None).until_stored(store) == "stored"
