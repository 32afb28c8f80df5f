"""What each answer of the token endpoint does to the stored grant."""

from __future__ import annotations

import base64

import pytest
from account_house import at_once
from scripted_server import Answer

from worker.errors import Misconfigured, NeedsConsent, TryAgainLater
from worker.events import AccountMoved, GrantRefreshed, IncidentClosed, IncidentOpened, RefreshFailed
from worker.states import AccountState

JSON = ("Content-Type", "application/json")


def said(body: bytes, status: int = 200, *headers: tuple[str, str]) -> Answer:
    return Answer(status, body, [JSON, *headers])


DEAD = said(b'{"error": "invalid_grant"}', 400)
CLIENT = said(b'{"error": "invalid_client"}', 401)
BUSY = said(b'{"error": "temporarily_unavailable"}', 503)
GOOD = said(b'{"access_token": "access-token-2", "refresh_token": "refresh-token-2", "expires_in": 60}')


@pytest.fixture
def meet(build, serve):
    """A house whose account meets these answers at the token endpoint; the house and the server."""

    def make(*answers: Answer, **options):
        token = serve(*answers)
        house = build(token, **options)
        house.admit()
        return house, token

    return make


class TestSuccess:
    """Stored, quirks and all."""

    def test_replaces_everything_in_one_generation(self, meet, clock):
        """Both tokens, the expiry, the scopes; the intent is gone."""
        body = b'{"access_token": "a2", "refresh_token": "r2", "expires_in": 60, "scope": "read write"}'
        house, _ = meet(said(body))
        clock.advance(10)
        grant = house.refresh(house.account())
        assert (grant.generation, grant.access_token.reveal(), house.refresh_token()) == (2, "a2", "r2")
        assert (grant.expires_at, grant.scopes) == (clock.now() + 60, ("read", "write"))
        assert (house.grant().intent_started_at, house.store.grants.open_intents()) == (None, [])

    @pytest.mark.parametrize("quirk", [b"", b', "refresh_token": null', b', "refresh_token": ""'])
    def test_without_refresh_token_keeps_the_old_one(self, meet, quirk):
        """Omitted, null and empty mean the same."""
        house, token = meet(said(b'{"access_token": "a2"' + quirk + b"}"))
        house.refresh(house.account())
        assert (house.refresh_token(), house.grant().generation) == ("refresh-token-1", 2)
        house.refresh(house.account())
        assert [asked.form["refresh_token"] for asked in token.asked] == ["refresh-token-1"] * 2

    @pytest.mark.parametrize(
        ("quirk", "lifetime"),
        [(b', "expires_in": "60"', 60), (b"", None), (b', "expires_in": null', None), (b', "expires_in": 60.5', 60)],
    )
    def test_reads_any_lifetime(self, meet, quirk, lifetime):
        """`expires_in` as a string, missing, null or a fraction."""
        house, _ = meet(said(b'{"access_token": "a2"' + quirk + b"}"))
        assert house.refresh(house.account()).lifetime == lifetime

    def test_reads_a_form_encoded_body(self, meet):
        """As some providers still answer."""
        house, _ = meet(
            Answer(200, b"access_token=a2&refresh_token=r2&expires_in=60", [("Content-Type", "text/plain")])
        )
        assert house.refresh(house.account()).access_token.reveal() == "a2"
        assert house.refresh_token() == "r2"

    def test_takes_a_token_type_in_any_case(self, build, serve):
        """`bearer` is sent as `Bearer`."""
        api, token = serve(Answer()), serve(said(b'{"access_token": "a2", "token_type": "bearer"}'))
        house = build(token, api)
        account = house.admit()
        house.refresh(account)
        house.session(account).get("x")
        assert api.asked[0].headers["authorization"] == "Bearer a2"

    def test_keeps_the_scopes_when_the_answer_names_none(self, meet):
        """RFC 6749, section 6: as before."""
        house, _ = meet(GOOD)
        before = house.grant().scopes
        assert house.refresh(house.account()).scopes == before

    def test_is_told(self, meet):
        """One GrantRefreshed with generation, lifetime and whether the refresh token rotated."""
        house, _ = meet(GOOD)
        house.refresh(house.account())
        assert house.happened == [GrantRefreshed("arlo", "acme", 2, 60, rotated=True)]

    def test_stands_in_the_timeline(self, meet):
        """With the generation that it brought, and without a secret."""
        house, _ = meet(GOOD)
        house.refresh(house.account())
        entry = house.store.timeline.of(house.account())[-1]
        assert (entry.kind, entry.generation, entry.evidence) == ("refreshed", 2, {"rotated": True, "expires_in": 60})


class TestRequest:
    """What is sent."""

    def test_is_one_post_with_basic_credentials(self, meet):
        """Form-encoded within the header (RFC 6749, section 2.3.1)."""
        house, token = meet(GOOD)
        house.secret = "p%+:ü"
        house.refresh(house.account())
        (asked,) = token.asked
        assert (asked.method, asked.form) == (
            "POST",
            {"grant_type": "refresh_token", "refresh_token": "refresh-token-1"},
        )
        assert base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")) == b"client:p%25%2B%3A%C3%BC"
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        assert asked.headers["content-length"] == str(len(asked.body))

    def test_carries_the_settings_parameters(self, meet):
        """`token_params`, and the redirect URI where the provider wants it here too."""
        house, token = meet(GOOD)
        house.configure(
            token_params={"audience": "x"}, refresh_sends_redirect_uri=True, redirect_uri="http://127.0.0.1:1/cb"
        )
        house.refresh(house.account())
        assert {name: token.asked[0].form[name] for name in ("audience", "redirect_uri")} == {
            "audience": "x",
            "redirect_uri": "http://127.0.0.1:1/cb",
        }

    def test_is_not_sent_when_a_newer_generation_is_stored(self, meet):
        """Somebody else was faster: no call."""
        house, token = meet(GOOD)
        account = house.account()
        house.refresh(account)
        assert house.refresher.refresh(account.id, 1).generation == 2
        assert len(token.asked) == 1

    def test_is_not_sent_without_a_client_secret(self, meet):
        """Nothing spent, nothing flagged: the error names the command."""
        house, token = meet(GOOD)
        house.client._read_secret = lambda: None
        with pytest.raises(Misconfigured) as caught:
            house.refresh(house.account())
        assert caught.value.hint == "worker secrets set arlo client_secret"
        assert (token.asked, house.account().state, house.store.grants.open_intents()) == ([], "active", [])
        assert house.incident().remedy == caught.value.hint

    def test_is_preceded_by_a_durable_intent(self, build, serve):
        """When the provider hears of it, the store already knows."""
        seen = []
        token = serve(Answer(200, GOOD.body, [JSON], before=lambda: seen.append(house.grant().intent_started_at)))
        house = build(token)
        house.admit()
        house.refresh(house.account())
        assert seen == [house.clock.now()]

    def test_for_an_address_that_is_none_leaves_no_doubt(self, meet):
        """Nothing was sent, so an `invalid_grant` later on is a revocation."""
        house, _ = meet(DEAD)
        good = house.integration.token_url
        house.configure(token_url=f"https://{'a' * 70}.example/token")
        with pytest.raises(Misconfigured, match="cannot be asked"):
            house.refresh(house.account())
        assert (house.account().state, house.store.grants.open_intents()) == ("active", [])
        house.configure(token_url=good)
        with pytest.raises(NeedsConsent):
            house.refresh(house.account())
        assert house.account().cause == "revoked"


class TestGrantDead:
    """`invalid_grant` and its dialects."""

    @pytest.mark.parametrize(
        "answer",
        [
            DEAD,
            said(b'{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}', 400),
            said(b'{"error": "INVALID_GRANT"}', 401),
            said(b'{"error": {"code": "invalid_grant", "message": "no"}}', 400),
        ],
    )
    def test_flags_the_account_with_the_evidence(self, meet, answer):
        """Cause, reason, evidence and what to do."""
        house, _ = meet(answer)
        with pytest.raises(NeedsConsent) as caught:
            house.refresh(house.account())
        account = house.account()
        assert (account.state, account.cause, caught.value.hint) == (
            "needs_consent",
            "revoked",
            "worker enroll arlo acme",
        )
        assert house.store.timeline.of(account)[-1].evidence["error"].lower() == "invalid_grant"

    def test_counts_the_integration_s_own_codes(self, meet):
        """`dead_errors`: a provider's dialect, from the config."""
        house, _ = meet(said(b'{"error": "session_gone"}', 400))
        house.configure(dead_errors=("session_gone",))
        with pytest.raises(NeedsConsent):
            house.refresh(house.account())

    def test_keeps_the_refresh_token(self, meet):
        """Until a human's consent replaces it."""
        house, _ = meet(DEAD)
        with pytest.raises(NeedsConsent):
            house.refresh(house.account())
        assert house.refresh_token() == "refresh-token-1"

    def test_is_told_with_the_remedy(self, meet):
        """One AccountMoved."""
        house, _ = meet(DEAD)
        with pytest.raises(NeedsConsent):
            house.refresh(house.account())
        (event,) = house.told(AccountMoved)
        assert (event.before, event.after, event.remedy) == ("active", "needs_consent", "worker enroll arlo acme")

    def test_is_told_also_of_an_account_that_was_flagged_for_a_scope(self, meet, clock):
        """From then on the whole account stands still, which nobody has been told yet."""
        from worker.store.records import SCOPE_MISSING, Finding

        house, _ = meet(DEAD)
        house.store.accounts.flag_scope(house.account(), Finding(SCOPE_MISSING, "lacks x"), clock.now())
        with pytest.raises(NeedsConsent):
            house.refresh(house.account())
        assert ([event.after for event in house.told(AccountMoved)], house.account().usable) == (
            ["needs_consent"],
            False,
        )

    def test_uses_what_another_process_has_rotated_meanwhile(self, build, serve):
        """The refusal of a token that somebody has replaced is no verdict on the grant."""
        token = serve(Answer(400, DEAD.body, [JSON], before=lambda: house.admit(access_token="a9", refresh_token="r9")))
        house = build(token)
        account = house.admit()
        grant = house.refresh(account)
        assert (grant.generation, grant.access_token.reveal(), house.account().state) == (2, "a9", "active")

    def test_of_an_account_without_refresh_token_says_so(self, meet):
        """The provider never gave one: consent with offline access is what helps."""
        house, token = meet(GOOD)
        house.admit("other", refresh_token=None)
        with pytest.raises(NeedsConsent, match="no refresh token"):
            house.refresh(house.account("other"))
        assert (house.account("other").state, token.asked) == ("needs_consent", [])


class TestClientAtFault:
    """An incident of the integration; accounts keep their state."""

    @pytest.mark.parametrize(
        "answer",
        [
            CLIENT,
            said(b'{"error": "invalid_client"}', 400),
            said(b'{"error": "unauthorized_client"}', 400),
            said(b'{"error": "invalid_request", "error_description": "redirect_uri mismatch"}', 400),
        ],
    )
    def test_opens_an_incident(self, meet, answer):
        """With cause and remedy; the account stays active and keeps its token."""
        house, _ = meet(answer)
        with pytest.raises(Misconfigured):
            house.refresh(house.account())
        assert (house.account().state, house.refresh_token()) == ("active", "refresh-token-1")
        assert "worker secrets set arlo client_secret" in house.incident().remedy

    def test_is_told_once_for_all_accounts(self, meet, clock):
        """One incident, however many accounts meet it."""
        house, token = meet(CLIENT)
        house.admit("other")
        for name in ("acme", "other", "acme"):
            with pytest.raises(Misconfigured):
                house.refresh(house.account(name))
            clock.advance(3600)
        assert ([type(event) for event in house.happened], house.incident().occurrences) == ([IncidentOpened], 3)
        assert len(token.asked) == 3

    def test_stops_the_other_accounts_from_asking(self, meet):
        """They would get the same answer."""
        house, token = meet(CLIENT)
        house.admit("other")
        for name in ("acme", "other", "acme"):
            with pytest.raises(Misconfigured):
                house.refresh(house.account(name))
        assert len(token.asked) == 1

    def test_ends_with_the_next_success_and_wakes_missed_runs(self, meet, clock):
        """The incident closes, is told, and what was missed becomes due at once."""
        house, _ = meet(CLIENT, GOOD)
        account = house.account()
        with pytest.raises(Misconfigured):
            house.refresh(account)
        house.store.schedule.ensure("sync", {account.id: clock.now()})
        due = house.store.schedule.entry("sync", account.id)
        house.store.runs.skip(due, "incident", clock.now(), clock.now() + 86400)
        clock.advance(3600)
        house.refresh(account)
        assert house.incident() is None
        assert house.told(IncidentClosed) == [IncidentClosed("arlo", "client_refused", "a refresh succeeded")]
        assert house.store.schedule.entry("sync", account.id).next_due == clock.now()

    def test_ends_with_a_successful_enrolment(self, house, sandbox):
        """A code redeemed proves the credentials as well."""
        account = house.enrol()
        house.secret = "wrong"
        with pytest.raises(Misconfigured):
            house.refresh(account)
        house.secret = sandbox.client_secret
        house.consent()
        assert house.incident() is None


class TestTransient:
    """Back off; the account keeps its state."""

    @pytest.mark.parametrize(
        "answer",
        [
            said(b"{}", 408),
            said(b'{"error": "rate_limited"}', 429),
            said(b'{"error": "server_error"}', 500),
            BUSY,
            Answer(502, b"<html><title>Bad Gateway</title></html>", [("Content-Type", "text/html")]),
            Answer(200, b"<html>Sign in to the wifi</html>", [("Content-Type", "text/html")]),
            Answer(200, b"\xff\xfe\x00garbage", [JSON]),
            Answer(403, b"<html>Blocked by the firewall</html>", [("Content-Type", "text/html")]),
            Answer(307, b"", [("Location", "http://127.0.0.1:9/elsewhere")]),
        ],
    )
    def test_keeps_state_and_token(self, meet, answer):
        """Nothing is decided: TryAgainLater with a wait."""
        house, _ = meet(answer)
        with pytest.raises(TryAgainLater) as caught:
            house.refresh(house.account())
        assert (house.account().state, house.refresh_token(), house.grant().generation) == (
            "active",
            "refresh-token-1",
            1,
        )
        assert caught.value.after >= 2
        assert house.store.grants.open_intents() == []

    def test_network_failure_keeps_state(self, build):
        """Nobody listens there: nothing was sent, nothing is in doubt."""
        house = build()
        house.admit()
        with pytest.raises(TryAgainLater):
            house.refresh(house.account())
        assert (house.account().state, house.store.grants.open_intents()) == ("active", [])

    def test_is_told_with_the_wait(self, meet):
        """RefreshFailed, for whoever counts them."""
        house, _ = meet(BUSY)
        with pytest.raises(TryAgainLater) as caught:
            house.refresh(house.account())
        (event,) = house.told(RefreshFailed)
        assert (event.generation, event.after) == (1, caught.value.after)

    def test_waits_longer_each_time(self, meet, clock):
        """2 s, 4 s, 8 s and so on, with some spread on top."""
        house, _ = meet(BUSY)
        waits = []
        for _ in range(6):
            with pytest.raises(TryAgainLater) as caught:
                house.refresh(house.account())
            waits.append(caught.value.after)
            clock.advance(caught.value.after)
        assert all(2.0**n <= wait <= 2.0**n * 1.25 for n, wait in enumerate(waits, start=1))

    @pytest.mark.parametrize("asked", ["7200", "Thu, 01 Jan 2026 02:00:00 GMT"])
    def test_honours_retry_after_whole(self, meet, clock, asked):
        """In seconds or as a date; not a second earlier."""
        house, token = meet(said(b"{}", 429, ("Retry-After", asked)), GOOD)
        with pytest.raises(TryAgainLater) as caught:
            house.refresh(house.account())
        assert caught.value.after >= 7200
        clock.advance(7199)
        with pytest.raises(TryAgainLater):
            house.refresh(house.account())
        assert len(token.asked) == 1
        clock.advance(0.25 * 7200 + 1)
        assert house.refresh(house.account()).generation == 2

    def test_stops_everybody_from_asking_again(self, meet):
        """The time is in the store: threads and other processes meet it without a call."""
        house, token = meet(BUSY)
        account = house.account()
        with pytest.raises(TryAgainLater):
            house.refresh(account)
        others = [house.new_refresher() for _ in range(8)]
        caught = at_once([lambda other=other: other.refresh(account.id, 1) for other in others])
        assert ([type(one) for one in caught], len(token.asked)) == ([TryAgainLater] * 8, 1)
        assert all(one.after is not None for one in caught)

    def test_is_over_after_a_success(self, meet, clock):
        """Failures count in a row only."""
        house, _ = meet(BUSY, BUSY, GOOD, BUSY)
        for wait in (10, 10):
            with pytest.raises(TryAgainLater):
                house.refresh(house.account())
            clock.advance(wait)
        grant = house.refresh(house.account())
        assert (grant.failures, grant.failing_since, grant.not_before) == (0, None, None)

    def test_does_not_hide_a_good_token(self, house, sandbox):
        """An account that cannot be refreshed just now still uses the token it has."""
        account = house.enrol()
        sandbox.fault("token", "http_503")
        with pytest.raises(TryAgainLater):
            house.refresh(account)
        assert house.session(account).get("events/").status_code == 200


class TestPausedMeanwhile:
    """The operator pauses while the request is under way."""

    def test_success_is_stored_and_the_pause_stays(self, build, serve, clock):
        """A rotation is never thrown away; no event speaks of a move that the refresh did not make."""
        pause = lambda: house.store.accounts.pause(house.account(), clock.now(), "")  # noqa: E731 - one line of a script
        token = serve(Answer(200, GOOD.body, [JSON], before=pause))
        house = build(token)
        house.admit()
        house.refresh(house.account())
        assert (house.account().state, house.refresh_token()) == ("paused", "refresh-token-2")
        assert house.told(AccountMoved) == []

    def test_refusal_shows_when_the_pause_ends(self, build, serve, clock):
        """The account resumes as one that needs consent."""
        pause = lambda: house.store.accounts.pause(house.account(), clock.now(), "")  # noqa: E731 - as above
        token = serve(Answer(400, DEAD.body, [JSON], before=pause))
        house = build(token)
        house.admit()
        with pytest.raises(NeedsConsent):
            house.refresh(house.account())
        assert house.account().state is AccountState.PAUSED
        assert house.store.accounts.resume(house.account(), clock.now()).state is AccountState.NEEDS_CONSENT


def test_refresh_shows_no_secret_that_a_provider_repeats(meet):
    """The refresh token within the complaint about it: neither in the error nor in the timeline."""
    body = b'{"error": "invalid_grant", "error_description": "the token refresh-token-1 is spent"}'
    house, _ = meet(said(body, 400))
    with pytest.raises(NeedsConsent) as caught:
        house.refresh(house.account())
    timeline = house.store.timeline.of(house.account())
    assert "refresh-token-1" not in f"{caught.value!r} {caught.value.evidence} {timeline} {house.happened}"


def test_refresh_of_an_unknown_integration_is_a_fault_of_the_config(meet):
    """The integration has left the config; its accounts have not."""
    house, token = meet(GOOD)
    house.clients.clear()
    with pytest.raises(Misconfigured, match="not in the configuration"):
        house.refresh(house.account())
    assert token.asked == []
