"""What an answer decides: refresh and replay once, never refresh, or hand it to the caller."""

from __future__ import annotations

import io

import pytest
from account_house import at_once
from scripted_server import Answer

from worker.config.model import RefreshRule
from worker.errors import BodyNotReplayable, NeedsConsent, ScopeMissing

TOKENS = Answer(body=b'{"access_token": "access-token-2", "expires_in": 3600, "refresh_token": "refresh-token-2"}')
DONE = Answer(body=b'{"done": true}')
INVALID = ("WWW-Authenticate", 'Bearer error="invalid_token"')
JSON = ("Content-Type", "application/json")


@pytest.fixture
def play(build, serve):
    """One request to an API with these answers; the response, the API's and the token endpoint's requests."""

    def run(*answers: Answer, method="GET", rules=(), **kwargs):
        api, token = serve(*answers), serve(TOKENS)
        house = build(token, api)
        house.configure(refresh_when=tuple(rules))
        with house.session(house.admit()) as session:
            response = session.request(method, "things", **kwargs)
        return response, api.asked, token.asked

    return run


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (401, [INVALID], b""),
        (401, [("WWW-Authenticate", 'Bearer error="expired_token"')], b""),
        (401, [], b""),
        (401, [("WWW-Authenticate", "Bearer")], b""),
        (401, [("WWW-Authenticate", 'Bearer realm="api"')], b""),
        (401, [("WWW-Authenticate", 'Basic realm="demo", error_message="The access token has expired"')], b""),
        (401, [("WWW-Authenticate", 'Digest realm="x"'), INVALID], b""),
        (403, [INVALID], b""),
        (403, [("WWW-Authenticate", 'Basic realm="demo", error="invalid_token", error_message="no"')], b""),
        (403, [("WWW-Authenticate", 'Newauth error="expired_token"')], b""),
        (403, [("WWW-Authenticate", 'Digest realm="x"'), INVALID], b""),
        (403, [JSON], b'{"error": "invalid_token"}'),
        (403, [JSON], b'{"error": {"code": "expired_token"}}'),
        (403, [("Content-Type", "application/problem+json")], b'{"type": "https://x.example/invalid_token"}'),
    ],
)
def test_session_refreshes_and_replays_once(play, status, headers, body):
    """401 that blames nothing else, and 403 with a structured signal in any scheme or in the JSON body."""
    response, asked, calls = play(Answer(status, body, headers), DONE)
    assert response.json() == {"done": True}
    sent = [request.headers["authorization"] for request in asked]
    assert (sent, len(calls)) == (["Bearer access-token-1", "Bearer access-token-2"], 1)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (403, [], b""),
        (403, [], b"invalid_token"),
        (403, [JSON], b'{"error": "forbidden", "message": "your token is fine, you are not"}'),
        (403, [("WWW-Authenticate", 'Bearer realm="api"')], b""),
        (403, [("Content-Type", "text/html")], b"<h1>invalid_token</h1>"),
        (401, [("WWW-Authenticate", 'Bearer error="invalid_request"')], b""),
        (400, [INVALID], b'{"error": "invalid_token"}'),
        (404, [], b""),
        (500, [JSON], b'{"error": "invalid_token"}'),
    ],
)
def test_session_hands_other_answers_to_the_caller(play, status, headers, body):
    """The API's own no, in any other form, never spends a refresh."""
    response, asked, calls = play(Answer(status, body, headers))
    assert (response.status_code, response.content, len(asked), calls) == (status, body, 1, [])


@pytest.mark.parametrize(
    ("rule", "headers", "body"),
    [
        (RefreshRule(403, "", "session has ended"), [], b"Your SESSION has ended."),
        (RefreshRule(403, "x-reason: stale", ""), [("X-Reason", "Stale")], b""),
        (RefreshRule(419, "", ""), [], b""),
    ],
)
def test_session_refreshes_by_a_rule_of_the_config(play, rule, headers, body):
    """A status, with text of a header line or of the body, that the operator declared to mean it."""
    response, _, calls = play(Answer(rule.status, body, headers), DONE, rules=[rule])
    assert (response.json(), len(calls)) == ({"done": True}, 1)


def test_session_leaves_an_answer_alone_that_matches_half_a_rule(play):
    """All parts of a rule must match."""
    rule = RefreshRule(403, "x-reason: stale", "ended")
    response, _, calls = play(Answer(403, b"ended"), DONE, rules=[rule])
    assert (response.status_code, calls) == (403, [])


@pytest.mark.parametrize("stream", [False, True])
def test_session_reads_a_json_signal_sent_in_chunks(play, stream):
    """Without a Content-Length, and whether or not the caller streams."""
    body = b'20\r\n{"error": "invalid_token"}      \r\n0\r\n\r\n'
    chunked = Answer(403, body, [JSON, ("Transfer-Encoding", "chunked")])
    response, _, calls = play(chunked, DONE, stream=stream)
    assert (response.status_code, len(calls)) == (200, 1)


def test_session_leaves_a_long_streamed_error_to_the_caller(play):
    """A 403 with a large body is not read behind the back of a caller who streams."""
    response, _, calls = play(Answer(403, b"x" * 100_000), stream=True)
    assert (len(response.raw.read()), calls) == (100_000, [])


@pytest.mark.parametrize(
    ("status", "headers", "body", "scopes"),
    [
        (403, [("WWW-Authenticate", 'Bearer error="insufficient_scope", scope="a b"')], b"", ("a", "b")),
        (401, [("WWW-Authenticate", 'Bearer error="insufficient_scope", scope="invoices"')], b"", ("invoices",)),
        (403, [("WWW-Authenticate", 'Basic error="insufficient_scope", scopes="all_claims"')], b"", ("all_claims",)),
        (403, [JSON], b'{"error": "insufficient_scope", "scope": "invoices"}', ("invoices",)),
        (403, [("WWW-Authenticate", 'Bearer error="insufficient_scope"')], b"", ()),
    ],
)  # fmt: skip
def test_session_never_refreshes_for_a_missing_scope(build, serve, status, headers, body, scopes):
    """ScopeMissing names the scopes; no refresh can widen a grant."""
    api, token = serve(Answer(status, body, headers)), serve(TOKENS)
    house = build(token, api)
    with pytest.raises(ScopeMissing) as caught:
        house.session(house.admit()).get("things")
    assert (caught.value.missing, token.asked) == (scopes, [])


def test_session_raises_for_a_scope_that_shows_on_the_replay(build, serve):
    """First the token was stale, then too narrow: one refresh, and ScopeMissing."""
    narrow = Answer(403, b"", [("WWW-Authenticate", 'Bearer error="insufficient_scope", scope="write"')])
    api, token = serve(Answer(401), narrow), serve(TOKENS)
    house = build(token, api)
    with pytest.raises(ScopeMissing):
        house.session(house.admit()).get("things")
    assert (len(token.asked), house.grant().refused_generation) == (1, None)


class TestSecondRejection:
    """A token that is refused although it was fetched for this very request is not what is wrong."""

    def test_caller_gets_the_answer(self, play):
        """Two rejections, one refresh, two requests, and the second answer."""
        response, asked, calls = play(Answer(401, b"no"), Answer(401, b"still no"))
        assert (response.content, len(asked), len(calls)) == (b"still no", 2, 1)

    def test_no_further_refresh_by_the_same_session(self, house, sandbox):
        """However often it asks."""
        session = house.session(house.enrol())
        sandbox.fault("api", "unauthorized", times=-1)
        assert [session.get("events/").status_code for _ in range(5)] == [401] * 5
        assert house.refresh_calls == 1

    def test_no_further_refresh_by_another_session(self, house, sandbox):
        """The mark is in the store: other runs and processes see it."""
        account = house.enrol()
        sandbox.fault("api", "invalid_token", times=-1)
        house.session(account).get("events/")
        assert house.session(account, refresher=house.new_refresher()).get("events/").status_code == 401
        assert house.refresh_calls == 1

    def test_no_further_refresh_by_sixteen_sessions_at_once(self, house, sandbox):
        """A storm of rejections costs one refresh in all."""
        account = house.enrol()
        sandbox.fault("api", "unauthorized", times=-1)
        sessions = [house.session(account) for _ in range(16)]
        answers = at_once([lambda session=session: session.get("events/").status_code for session in sessions])
        assert (answers, house.refresh_calls) == ([401] * 16, 1)

    def test_other_resources_are_served(self, house, sandbox):
        """The mark stops refreshes, not requests."""
        session = house.session(house.enrol())
        sandbox.fault("api", "unauthorized", times=-1, path="orders")
        assert [session.get(f"{name}/").status_code for name in ("orders", "events", "orders")] == [401, 200, 401]
        assert house.refresh_calls == 1

    def test_a_resource_that_always_refuses_costs_no_refresh_for_each_run(self, house, sandbox):
        """Runs that read one resource well and meet a 401 at the other: one refresh for the generation."""
        account = house.enrol()
        sandbox.fault("api", "unauthorized", times=-1, path="orders")
        for _ in range(4):
            session = house.session(account)
            assert [session.get(f"{name}/").status_code for name in ("events", "orders")] == [200, 401]
        assert house.refresh_calls == 1

    def test_is_forgotten_with_the_lapse(self, house, sandbox, clock):
        """The next generation begins without a mark."""
        account = house.enrol()
        sandbox.fault("api", "unauthorized", times=2)
        house.session(account).get("events/")
        assert house.grant().refused_generation == 2
        clock.advance(3600)
        assert house.session(account).get("events/").status_code == 200
        assert (house.grant().generation, house.grant().refused_generation) == (3, None)

    def test_is_forgotten_after_a_success_an_hour_later(self, house, sandbox, clock):
        """A token of a week that works again: its early death later on is mended by a refresh."""
        sandbox.set(access_ttl=7 * 86400)
        account = house.enrol()
        sandbox.fault("api", "unauthorized", times=2)
        house.session(account).get("events/")
        clock.advance(3600)
        session = house.session(account)
        assert session.get("events/").status_code == 200
        assert house.grant().refused_generation is None
        sandbox.expire()
        assert session.get("events/").status_code == 200
        assert house.refresh_calls == 2

    def test_of_a_token_without_lifetime_is_forgotten_after_an_hour(self, house, sandbox, clock):
        """Nothing says when it lapses, so an hour stands for it."""
        issued = sandbox.grant("acme")
        account = house.admit("acme", issued["access_token"], issued["refresh_token"], lifetime=None)
        sandbox.set(claimed_ttl=0)
        sandbox.fault("api", "unauthorized", times=-1, path="orders")
        session = house.session(account)
        assert [session.get(f"{name}/").status_code for name in ("orders", "events")] == [401, 200]
        clock.advance(3500)
        session.get("orders/")
        assert house.refresh_calls == 1
        clock.advance(200)
        session.get("orders/")
        assert house.refresh_calls == 2

    def test_of_a_token_that_is_taken_nowhere_is_looked_into_after_a_while(self, house, sandbox, clock):
        """It may have been revoked between the refresh and the replay; only a refresh can tell."""
        account = house.enrol()
        sandbox.fault("api", "unauthorized", times=2)
        house.session(account).get("events/")
        sandbox.revoke("acme")
        clock.advance(800)
        assert house.session(account).get("events/").status_code == 401
        assert house.refresh_calls == 1
        clock.advance(200)
        with pytest.raises(NeedsConsent):
            house.session(account).get("events/")

    def test_of_a_token_fetched_long_ago_by_others_proves_nothing(self, house, sandbox, clock):
        """Both the old token and the stored one died early: the next request refreshes."""
        account = house.enrol()
        idle, busy = house.session(account), house.session(account)
        idle.get("events/")
        busy.get("events/")
        sandbox.expire()
        busy.get("events/")
        clock.advance(60)
        sandbox.expire()
        assert idle.get("events/").status_code == 401
        assert idle.get("events/").status_code == 200
        assert house.refresh_calls == 2

    def test_of_a_revoked_grant_flags_the_account_at_the_next_request(self, house, sandbox, clock):
        """A session that was behind others' refresh does not hide a revocation behind a mark."""
        account = house.enrol()
        behind = house.session(account)
        behind.get("events/")
        house.refresh(account)
        clock.advance(1)
        sandbox.revoke("acme")
        assert behind.get("events/").status_code == 401
        with pytest.raises(NeedsConsent):
            behind.get("events/")
        assert house.account().state == "needs_consent"

    def test_does_not_cost_the_caller_the_answer_when_the_mark_cannot_be_stored(self, house, sandbox):
        """The bookkeeping of a mark is no reason to withhold an answer."""
        account = house.enrol()
        sandbox.fault("api", "unauthorized", times=-1)
        with house.store.database.write() as session:
            session.connection().exec_driver_sql(
                "CREATE TRIGGER no_mark BEFORE UPDATE OF refused_generation ON grant_"
                " WHEN new.refused_generation IS NOT NULL BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
            )
        session = house.session(account)
        assert [session.get("events/").status_code for _ in range(3)] == [401] * 3
        assert house.refresh_calls == 1


class TestBodies:
    """What was sent must be sent again whole, or not at all."""

    def test_text_bytes_and_json_are_replayed(self, play):
        """The replay carries the very same body."""
        _, asked, _ = play(Answer(401), DONE, method="POST", json={"a": 1})
        assert [request.body for request in asked] == [b'{"a": 1}'] * 2

    @pytest.mark.parametrize("body", [bytearray(b"payload"), memoryview(b"payload")])
    def test_buffers_are_replayed(self, play, body):
        """Other kinds of bytes than `bytes`."""
        _, asked, _ = play(Answer(401), DONE, method="POST", data=body)
        assert [request.body for request in asked] == [b"payload"] * 2

    def test_file_is_rewound(self, play, tmp_path):
        """From where it stood when the request was made, not from its start."""
        path = tmp_path / "upload"
        path.write_bytes(b"header payload")
        with path.open("rb") as file:
            file.seek(7)
            _, asked, _ = play(Answer(401), DONE, method="POST", data=file)
        assert [request.body for request in asked] == [b"payload"] * 2

    def test_multipart_is_replayed(self, play):
        """`files` is read into memory by requests."""
        response, asked, _ = play(Answer(401), DONE, method="POST", files={"f": io.BytesIO(b"payload")})
        assert (response.status_code, asked[0].body == asked[1].body) == (200, True)

    def test_generator_is_refreshed_for_but_not_replayed(self, build, serve):
        """BodyNotReplayable, after the refresh: the caller's own second try succeeds."""
        api, token = serve(Answer(401), DONE), serve(TOKENS)
        house = build(token, api)
        session = house.session(house.admit())
        with pytest.raises(BodyNotReplayable) as caught:
            session.post("things", data=(part for part in (b"a", b"b")))
        assert "generator" in caught.value.hint
        assert (len(api.asked), len(token.asked), house.grant().generation) == (1, 1, 2)
        assert session.post("things", data=(part for part in (b"a", b"b"))).status_code == 200
        assert api.asked[1].body == b"ab"

    def test_generator_in_a_lapsed_token_s_request_is_sent_once(self, build, serve, clock):
        """Refreshed before sending, a stream is no obstacle."""
        api, token = serve(DONE), serve(TOKENS)
        house = build(token, api)
        session = house.session(house.admit())
        clock.advance(4000)
        assert session.post("things", data=iter([b"a"])).status_code == 200
        assert (len(api.asked), len(token.asked)) == (1, 1)

    def test_generator_is_not_sent_again_on_a_broken_connection(self, build, serve):
        """PUT is idempotent, but a spent stream would arrive empty: the caller gets the error."""
        import requests

        gone = Answer(raw=lambda handler: handler.connection.close())
        api = serve(gone, DONE)
        house = build(None, api)
        with pytest.raises(requests.ConnectionError):
            house.session(house.admit()).put("things", data=iter([b"payload"]))
        assert [request.body for request in api.asked] == [b"payload"]


def test_session_sends_an_idempotent_request_again_on_a_broken_connection(build, serve):
    """A kept-alive connection that the server has closed is nobody's business."""
    api = serve(Answer(raw=lambda handler: handler.connection.close()), DONE)
    house = build(None, api)
    assert house.session(house.admit()).get("things").status_code == 200


def test_session_never_repeats_a_post_on_a_broken_connection(build, serve):
    """Whether the first one was carried out is unknown."""
    import requests

    api = serve(Answer(raw=lambda handler: handler.connection.close()), DONE)
    house = build(None, api)
    with pytest.raises(requests.ConnectionError):
        house.session(house.admit()).post("things", data=b"x")
    assert len(api.asked) == 1


@pytest.mark.parametrize("status", [413, 429, 503])
def test_session_hands_out_not_so_fast_with_retry_after(play, status):
    """An answer that asks for patience is an answer, whatever urllib3 would make of it."""
    response, asked, calls = play(Answer(status, b"slow", [("Retry-After", "1")]))
    assert (response.status_code, len(asked), calls) == (status, 1, [])
