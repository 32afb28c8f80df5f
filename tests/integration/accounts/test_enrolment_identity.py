"""An identity URL that does not say who consented, when the code is spent already: patience, then a decision."""

from __future__ import annotations

import pytest
from scripted_server import Answer

from worker.accounts.enrolment import Choices
from worker.accounts.patience import ASKING, Patience
from worker.accounts.who import NotTold
from worker.errors import EnrolmentFailed
from worker.redact import Secret

SAYS_ALICE = Answer(200, b'{"sub": "user-alice", "email": "alice@example.org"}')
SILENT = [Answer(500), Answer(429), Answer(200, b"<html>"), Answer(200, b"[]"), Answer(200, b"{}"), Answer(403)]


@pytest.fixture
def asked(house, serve):
    """Sets the answers of the identity URL; the provider sends no ID token from now on."""

    def answer(*answers: Answer):
        server = serve(*answers)
        house.configure(scopes=("offline_access", "read"), identity_url=f"{server.origin}/me")
        return server.asked

    return answer


def test_identity_url_that_fails_is_asked_again(house, asked):
    """A restart of the provider's costs nobody a consent."""
    requests = asked(Answer(503), Answer(200, b"<html>"), SAYS_ALICE)
    assert house.consent().label == "alice@example.org"
    assert len(requests) == 3


def test_identity_url_that_refuses_is_asked_once(house, asked):
    """A pause mends no 403."""
    requests = asked(Answer(403))
    house.consent()
    assert len(requests) == 1


def test_patience_with_the_identity_url_is_bounded():
    """Somebody sits in front of it: ten seconds of pauses, and the last refusal is told."""
    pauses: list[float] = []

    def ask() -> str:
        raise NotTold("the identity URL answered 500", passing=True)

    with pytest.raises(NotTold, match="500"):
        Patience(sleep=pauses.append).until_told(ask)
    assert (tuple(pauses), sum(pauses)) == (ASKING, 10.0)


@pytest.mark.parametrize("answer", SILENT)
def test_new_account_is_stored_without_an_owner_and_says_so(house, asked, caplog, answer):
    """The code is spent: the grant works, and nobody is mistaken for somebody else."""
    asked(answer)
    enrolled = house.consent()
    assert (enrolled.label, house.account().state) == ("", "active")
    assert house.store.grants.read_identity(house.account().id) == {}
    assert "stored without its owner" in caplog.text


def test_owner_is_learnt_at_the_next_consent(house, asked):
    """An account without one takes the first who is known."""
    asked(Answer(500))
    house.consent()
    asked(SAYS_ALICE)
    house.consent()
    assert house.store.grants.read_identity(house.account().id)["subject"] == "user-alice"


@pytest.mark.parametrize("answer", SILENT)
def test_account_with_an_owner_keeps_its_grant_when_the_new_one_is_unknown(house, asked, answer):
    """One person's rows among another's cannot be told apart again; a consent can be given once more."""
    house.consent(user="alice")
    before = house.grant(), house.refresh_token()
    asked(answer)
    with pytest.raises(EnrolmentFailed, match=r"belongs to .*alice.* is unknown: .*; nothing was changed") as caught:
        house.consent(user="alice")
    assert (house.grant(), house.refresh_token()) == before
    assert "--replace-identity" in caught.value.hint


def test_operator_may_vouch_for_whom_the_provider_does_not_name(house, asked):
    """`--replace-identity`: the new grant counts, and the former owner is forgotten."""
    house.consent(user="alice")
    asked(Answer(500))
    house.consent(user="alice", choices=Choices(replace_identity=True))
    assert (house.grant().generation, house.store.grants.read_identity(house.account().id)) == (2, {})


def test_import_for_an_account_with_an_owner_is_refused_when_the_token_s_is_unknown(house, asked):
    """As any other consent is."""
    house.consent(user="alice")
    asked(Answer(500))
    given = house.sandbox.grant("alice", ["offline_access", "read"])["refresh_token"]
    with pytest.raises(EnrolmentFailed, match="is unknown"):
        house.enrolment.import_refresh_token(house.client, "acme", Secret(given), Choices())
    assert house.grant().generation == 1
