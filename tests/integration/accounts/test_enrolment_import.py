"""Moving in with a refresh token, and giving a grant back."""

from __future__ import annotations

import pytest
from scripted_server import Answer

from worker.accounts.enrolment import Choices
from worker.errors import EnrolmentFailed, Misconfigured, NeedsConsent, TryAgainLater
from worker.events import AccountMoved
from worker.redact import Secret

JSON = ("Content-Type", "application/json")


def import_token(house, token: str, **choices):
    return house.enrolment.import_refresh_token(house.client, "acme", Secret(token), Choices(**choices))


class TestImport:
    """The token is spent once, to prove that it works."""

    def test_stores_the_rotated_token(self, house, sandbox):
        """The one that was given is void from now on."""
        given = sandbox.grant("alice")["refresh_token"]
        enrolled = import_token(house, given)
        assert (enrolled.created, enrolled.label, house.account().state) == (True, "alice", "active")
        assert house.refresh_token() != given
        assert house.refresh(house.account()).generation == 2

    def test_keeps_the_token_of_a_provider_that_does_not_rotate(self, house, sandbox):
        """The answer names none, or the same."""
        sandbox.set(refresh_rotation=False)
        given = sandbox.grant("alice")["refresh_token"]
        import_token(house, given)
        assert house.refresh_token() == given

    def test_keeps_the_token_when_the_answer_names_none(self, build, serve):
        """RFC 6749, section 6."""
        house = build(serve(Answer(200, b'{"access_token": "a", "expires_in": 60}', [JSON])))
        import_token(house, "given")
        assert house.refresh_token() == "given"

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("invalid_grant", EnrolmentFailed),
            ("invalid_client", Misconfigured),
            ("http_503", TryAgainLater),
            ("reset_after", TryAgainLater),
        ],
    )
    def test_that_fails_stores_nothing(self, house, sandbox, kind, error):
        """A dead token, a wrong secret, a busy provider, no answer."""
        given = sandbox.grant("alice")["refresh_token"]
        sandbox.fault("token", kind)
        with pytest.raises(error):
            import_token(house, given)
        assert house.store.accounts.find("arlo", "acme") is None

    def test_for_an_account_of_somebody_else_is_refused(self, house, sandbox):
        """As with any consent."""
        house.consent(user="alice")
        before = house.grant()
        with pytest.raises(EnrolmentFailed, match="belongs to alice"):
            import_token(house, sandbox.grant("bob")["refresh_token"])
        assert house.grant() == before

    def test_is_not_lost_when_the_owner_cannot_be_asked(self, house, serve, caplog):
        """The token given is void by then: the new one is kept, its owner unknown."""
        house.configure(identity_url=f"{serve(Answer(500)).origin}/me")
        given = house.sandbox.grant("alice", ["offline_access", "read"])["refresh_token"]
        enrolled = import_token(house, given)
        assert (enrolled.label, house.account().state) == ("", "active")
        assert "without its owner" in caplog.text

    def test_is_not_lost_when_the_id_token_is_not_to_be_trusted(self, build, serve, caplog):
        """No browser has had a part in it: what is in hand is kept, its owner unknown."""
        answer = b'{"access_token": "a", "refresh_token": "r", "expires_in": 60, "id_token": "x.y.z"}'
        house = build(serve(Answer(200, answer, [JSON])))
        import_token(house, "given")
        assert (house.refresh_token(), "without its owner" in caplog.text) == ("r", True)

    def test_asks_for_the_identity_url_before_it_spends_the_token(self, house, serve):
        """A provider whose metadata cannot be read is found out first."""
        house.configure(issuer="http://127.0.0.1:9", identity_url=None)
        given = house.sandbox.grant("alice")["refresh_token"]
        with pytest.raises(TryAgainLater):
            import_token(house, given)
        assert house.refresh_calls == 0


class TestRevoke:
    """RFC 7009."""

    def test_gives_the_grant_back_and_forgets_it(self, house, sandbox):
        """The provider has ended it, the store has no token, the history stays."""
        house.consent(user="alice")
        assert house.enrolment.revoke(house.client, house.account()) == "revoked at the provider"
        assert (house.account().state, sandbox.stats()["active_grants"]) == ("revoked", 0)
        with pytest.raises(NeedsConsent):
            house.grant()
        assert len(house.store.timeline.of(house.account())) == 2

    def test_is_told(self, house):
        """From active to revoked."""
        account = house.enrol()
        house.enrolment.revoke(house.client, account)
        (event,) = house.told(AccountMoved)
        assert (event.before, event.after) == ("active", "revoked")

    def test_sends_the_refresh_token_with_its_hint(self, build, serve):
        """And the client's credentials."""
        provider = serve(Answer(200))
        house = build(None, revoke_url=f'"{provider.origin}/revoke"')
        house.enrolment.revoke(house.client, house.admit())
        (asked,) = provider.asked
        assert asked.form == {"token": "refresh-token-1", "token_type_hint": "refresh_token"}
        assert asked.headers["authorization"].startswith("Basic ")

    def test_sends_the_access_token_where_there_is_no_other(self, build, serve):
        """It is all there is to give back."""
        provider = serve(Answer(200))
        house = build(None, revoke_url=f'"{provider.origin}/revoke"')
        house.enrolment.revoke(house.client, house.admit(refresh_token=None))
        assert provider.asked[0].form == {"token": "access-token-1", "token_type_hint": "access_token"}

    @pytest.mark.parametrize("status", [400, 401, 429, 500, 503, 302])
    def test_that_is_not_accepted_keeps_the_grant(self, build, serve, status):
        """It is still valid there: TryAgainLater, with the way out."""
        headers = [("Location", "http://127.0.0.1:9/"), ("Retry-After", "7")]
        provider = serve(Answer(status, b"", headers))
        house = build(None, revoke_url=f'"{provider.origin}/revoke"')
        account = house.admit()
        with pytest.raises(TryAgainLater, match=str(status)) as caught:
            house.enrolment.revoke(house.client, account)
        assert (house.account().state, house.refresh_token(), caught.value.after) == ("active", "refresh-token-1", 7)
        assert "worker accounts remove arlo acme --keep-grant" in caught.value.hint

    def test_that_reaches_nobody_keeps_the_grant(self, build):
        """Nothing has been revoked."""
        house = build(None, revoke_url='"http://127.0.0.1:9/revoke"')
        with pytest.raises(TryAgainLater, match="could not be reached"):
            house.enrolment.revoke(house.client, house.admit())
        assert house.account().state == "active"

    def test_without_an_endpoint_says_what_is_left_to_do(self, build):
        """The grant is forgotten here; at the provider a human must remove it."""
        house = build(None)
        said = house.enrolment.revoke(house.client, house.admit())
        assert ("by hand" in said, house.account().state) == (True, "revoked")

    def test_waits_for_a_refresh_that_is_under_way(self, house, sandbox):
        """What is given back is the token that the refresh brings."""
        import threading

        account = house.enrol()
        sandbox.set(token_delay=0.3)
        refresh = threading.Thread(target=lambda: house.refresh(account))
        refresh.start()
        while not sandbox.stats()["peak_concurrent_token_calls"]:
            pass
        house.enrolment.revoke(house.client, account)
        refresh.join()
        assert (house.account().state, sandbox.stats()["active_grants"]) == ("revoked", 0)

    def test_ends_a_session_at_work_truthfully(self, house):
        """Its token is dead, and the store says why."""
        session = house.session(house.enrol())
        session.get("events/")
        house.enrolment.revoke(house.client, house.account())
        with pytest.raises(NeedsConsent, match="revoked"):
            session.get("events/")
