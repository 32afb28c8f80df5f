"""The authorization code flow from its beginning to the stored grant."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
from account_house import REDIRECT, SCOPES, at_once
from scripted_server import Answer

from worker.accounts.enrolment import Choices
from worker.errors import EnrolmentFailed, TryAgainLater
from worker.events import AccountMoved
from worker.sandbox import give_consent


def asked(attempt) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(attempt.url).query).items()}


class TestBegin:
    """What the human opens."""

    def test_asks_with_pkce_s256(self, house):
        """The challenge is the digest of the verifier, which is long, secret and stays here."""
        attempt = house.begin()
        digest = hashlib.sha256(attempt.verifier.reveal().encode()).digest()
        parameters = asked(attempt)
        assert parameters["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert (parameters["code_challenge_method"], parameters["response_type"]) == ("S256", "code")
        assert len(attempt.verifier.reveal()) >= 43
        assert attempt.verifier.reveal() not in attempt.url

    def test_asks_for_what_the_config_names(self, house):
        """Client, redirect URI and scopes."""
        parameters = asked(house.begin())
        assert (parameters["client_id"], parameters["redirect_uri"], parameters["scope"]) == (
            house.integration.client_id,
            REDIRECT,
            " ".join(SCOPES),
        )

    def test_never_uses_a_value_twice(self, house):
        """State, nonce and verifier belong to one attempt."""
        attempts = [house.begin() for _ in range(5)]
        for name in ("state", "nonce", "code_challenge"):
            assert len({asked(attempt)[name] for attempt in attempts}) == 5

    def test_sends_no_nonce_without_openid(self, house):
        """There will be no ID token to hold it."""
        house.configure(scopes=("offline_access", "read"))
        assert "nonce" not in asked(house.begin())

    def test_writes_scopes_as_the_provider_separates_them(self, house):
        """A comma, where the config says so."""
        house.configure(scope_separator=",")
        assert asked(house.begin())["scope"] == ",".join(SCOPES)

    def test_fails_before_a_human_is_troubled(self, house):
        """No client secret: said at once, not after the consent."""
        from worker.errors import Misconfigured

        house.client._read_secret = lambda: None
        with pytest.raises(Misconfigured):
            house.begin()

    def test_teaches_the_scrubber_its_secrets(self, house):
        """State and verifier are taken out of any log line."""
        attempt = house.begin()
        line = house.scrubber(f"{attempt.expected.state} {attempt.verifier.reveal()} {attempt.nonce}")
        assert line == "[redacted] [redacted] [redacted]"

    def test_shows_no_secret_in_its_repr(self, house):
        """Whatever prints an attempt."""
        attempt = house.begin()
        assert attempt.verifier.reveal() not in repr(attempt)


class TestFinish:
    """What is stored."""

    def test_stores_a_new_account(self, house):
        """Active, generation 1, with the tokens that work."""
        enrolled = house.consent(user="alice")
        assert (enrolled.created, enrolled.grant.generation, house.account().state) == (True, 1, "active")
        assert (enrolled.label, bool(enrolled.scopes)) == ("alice", False)
        assert house.session(house.account()).get("events/").status_code == 200
        assert house.refresh(house.account()).generation == 2

    def test_counts_the_lifetime_from_the_request(self, house, clock):
        """Which errs on the safe side."""
        house.consent()
        assert house.grant().expires_at == clock.now() + 3600

    def test_shows_the_scopes_that_were_left_out(self, house):
        """What the human unticked; stored as granted, without it."""
        enrolled = house.consent(refuse=["all_claims"])
        assert (enrolled.scopes.missing, enrolled.scopes.extra) == (("all_claims",), ())
        assert "all_claims" not in house.grant().scopes
        assert "all_claims" in house.grant().requested_scopes

    def test_works_without_a_refresh_token(self, house):
        """A human who refuses offline access: enrolled for as long as the access token lives."""
        enrolled = house.consent(refuse=["offline_access"])
        assert enrolled.grant.has_refresh_token is False
        assert house.session(house.account()).get("events/").status_code == 200

    def test_learns_who_consented_from_the_id_token(self, house):
        """Subject and label, sealed in the store."""
        house.consent(user="alice-smith")
        assert house.store.grants.read_identity(house.account().id) == {
            "subject": "alice-smith",
            "label": "alice-smith",
        }

    def test_learns_who_consented_from_the_identity_url(self, house, sandbox, build, serve):
        """Where there is no ID token."""
        identity = serve(Answer(200, b'{"user": {"id": 7}, "email": "a@x.example"}'))
        house.configure(
            scopes=("offline_access", "read"), identity_url=f"{identity.origin}/me", identity_claim="user.id"
        )
        assert house.consent().label == "a@x.example"
        assert house.store.grants.read_identity(house.account().id)["subject"] == "7"
        assert identity.asked[0].headers["authorization"].startswith("Bearer ")

    def test_asks_the_identity_url_with_the_header_that_is_set(self, house, sandbox, build, serve):
        """The token stands there as it does in a request to the API."""
        identity = serve(Answer(200, b'{"sub": "7"}'))
        house.configure(
            scopes=("offline_access", "read"), identity_url=f"{identity.origin}/me", token_header="X-Access-Token"
        )
        house.consent()
        asked = identity.asked[0].headers
        assert (asked["x-access-token"].startswith("Bearer "), asked.get("authorization")) == (False, None)

    def test_knows_nobody_where_the_provider_does_not_say(self, house):
        """Neither ID token nor identity URL."""
        house.configure(scopes=("offline_access", "read"))
        assert house.consent().label == ""
        assert house.store.grants.read_identity(house.account().id) == {}

    def test_takes_a_pasted_address_in_any_dress(self, house):
        """With blanks and brackets around it, or its query alone."""
        for name, dress in (("a", "  <{}>\n"), ("b", '"{}"'), ("c", "{}")):
            attempt = house.begin(name)
            back = give_consent(attempt.url, name)
            back = urlsplit(back).query if name == "c" else back
            assert house.enrolment.finish(attempt, dress.format(back), Choices()).created

    def test_discovers_the_endpoints_from_the_issuer(self, house, sandbox):
        """With `iss` checked, since the provider advertises it."""
        house.configure(issuer=sandbox.issuer, authorize_url=None, token_url=None, revoke_url=None, identity_url=None)
        assert house.begin().expected.iss_required is True
        assert house.consent().created is True


class TestReConsent:
    """In place: same account, same history, same schedule."""

    def test_keeps_history_and_schedule(self, house, sandbox, clock):
        """The account's number, its timeline and its due times stay; what was missed becomes due at once."""
        before = house.enrol()
        house.store.schedule.ensure("sync", {before.id: clock.now() + 500})
        sandbox.revoke("acme")
        with pytest.raises(Exception, match="needs consent"):
            house.refresh(before)
        due = house.store.schedule.entry("sync", before.id)
        house.store.runs.skip(due, "needs_consent", clock.now(), clock.now() + 86400)
        entries = len(house.store.timeline.of(before))
        enrolled = house.consent()
        after = house.account()
        assert (enrolled.created, after.id, after.uid, after.state) == (False, before.id, before.uid, "active")
        assert len(house.store.timeline.of(after)) == entries + 1
        assert house.store.schedule.entry("sync", after.id).next_due == clock.now()

    def test_goes_on_counting_the_generation(self, house):
        """Nobody with an older token in hand takes it for the newer one."""
        house.enrol()
        assert house.consent().grant.generation == 2

    def test_is_told(self, house, sandbox):
        """From needs_consent to active."""
        account = house.enrol()
        sandbox.revoke("acme")
        with pytest.raises(Exception, match="needs consent"):
            house.refresh(account)
        house.consent()
        event = house.told(AccountMoved)[-1]
        assert (event.before, event.after, event.cause) == ("needs_consent", "active", "a human consented")

    def test_is_noticed_by_a_session_at_work(self, house, sandbox):
        """Its token rejected, it finds the new grant in the store: no refresh."""
        session = house.session(house.enrol())
        session.get("events/")
        sandbox.revoke("acme")
        house.consent()
        assert session.get("events/").status_code == 200
        assert house.refresh_calls == 0

    def test_by_the_same_person_is_accepted(self, house):
        """The subject is what counts."""
        house.consent(user="alice")
        assert house.consent(user="alice").created is False

    def test_by_somebody_else_is_refused(self, house):
        """Both are named, and nothing has changed."""
        house.consent(user="alice")
        before = house.grant()
        with pytest.raises(EnrolmentFailed, match="belongs to alice, but bob consented") as caught:
            house.consent(user="bob")
        assert "--replace-identity" in caught.value.hint
        assert (house.grant(), house.session(house.account()).get("events/").status_code) == (before, 200)

    def test_by_somebody_else_is_accepted_when_meant(self, house):
        """`--replace-identity`."""
        house.consent(user="alice")
        house.consent(user="bob", choices=Choices(replace_identity=True))
        assert house.store.grants.read_identity(house.account().id)["subject"] == "bob"

    def test_without_a_new_refresh_token_keeps_the_same_person_s_old_one(self, house):
        """Some providers send one only the first time."""
        house.consent(user="alice")
        before = house.refresh_token()
        assert house.consent(user="alice", refuse=["offline_access"]).grant.has_refresh_token is True
        assert house.refresh_token() == before

    def test_without_a_new_refresh_token_drops_somebody_else_s(self, house):
        """It would speak for the person before."""
        house.consent(user="alice")
        choices = Choices(replace_identity=True)
        enrolled = house.consent(user="bob", refuse=["offline_access"], choices=choices)
        assert enrolled.grant.has_refresh_token is False

    def test_after_a_revocation_may_be_anybody_s(self, house):
        """The grant was given back; who comes next is a new beginning for the same account."""
        house.consent(user="alice")
        house.enrolment.revoke(house.client, house.account())
        enrolled = house.consent(user="bob")
        assert (enrolled.grant.account.state, enrolled.grant.generation > 1) == ("active", True)


class TestOnce:
    """A code is sent once."""

    def test_attempt_takes_one_answer(self, house, sandbox):
        """The second time it is refused here, and the grant of the first lives on."""
        attempt = house.begin()
        back = give_consent(attempt.url, "acme")
        house.enrolment.finish(attempt, back, Choices())
        with pytest.raises(EnrolmentFailed, match="has had its answer"):
            house.enrolment.finish(attempt, back, Choices())
        assert (sandbox.stats()["token_calls_total"], sandbox.stats()["grants"]) == (1, {"acme": 1})

    def test_code_is_not_sent_again_after_a_lost_answer(self, house, sandbox):
        """The first sending may have worked; a second one would revoke what it granted."""
        attempt = house.begin()
        back = give_consent(attempt.url, "acme")
        sandbox.fault("token", "reset_after")
        with pytest.raises(TryAgainLater):
            house.enrolment.finish(attempt, back, Choices())
        with pytest.raises(EnrolmentFailed):
            house.enrolment.finish(attempt, back, Choices())
        assert sandbox.stats()["token_calls_total"] == 1

    def test_forged_answer_does_not_use_the_attempt_up(self, house):
        """Anybody may send one; the real one still counts."""
        attempt = house.begin()
        with pytest.raises(EnrolmentFailed):
            house.enrolment.finish(attempt, f"{REDIRECT}?code=x&state=forged", Choices())
        assert house.enrolment.finish(attempt, give_consent(attempt.url, "acme"), Choices()).created

    def test_sixteen_answers_at_once_redeem_one_code(self, house, sandbox):
        """As when a browser reloads the page."""
        attempt = house.begin()
        back = give_consent(attempt.url, "acme")
        results = at_once([lambda: house.enrolment.finish(attempt, back, Choices()).created] * 16)
        assert results.count(True) == 1
        assert sandbox.stats()["token_calls"] == {"authorization_code": {"granted": 1}}


def test_two_enrolments_of_one_new_account_make_one_account(house):
    """At the same time, by two people: the second is a re-consent, and is asked who it is."""
    attempts = [(house.begin(), user) for user in ("alice", "bob")]
    answers = [(attempt, give_consent(attempt.url, user)) for attempt, user in attempts]
    results = at_once([lambda one=one: house.enrolment.finish(one[0], one[1], Choices()).created for one in answers])
    assert results.count(True) == 1
    assert sum(isinstance(result, EnrolmentFailed) for result in results) == 1
