"""The session is a `requests.Session`: whatever a library does with one works here."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack, suppress

import pytest
import requests
from scripted_server import Answer

from worker.accounts.pace import NoPace

TOKENS = Answer(body=b'{"access_token": "access-token-2", "expires_in": 3600}')
DONE = Answer(body=b'{"done": true}', headers=[("Content-Type", "application/json")])


@pytest.fixture
def at(build, serve):
    """A session on an API with these answers, and the API."""

    def make(*answers: Answer, **settings):
        api = serve(*(answers or (DONE,)))
        house = build(serve(TOKENS), api)
        return house.session(house.admit(), **settings), api

    return make


def test_session_is_a_requests_session(at):
    """For libraries that ask."""
    session, _ = at()
    assert isinstance(session, requests.Session)


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        ("things", "/api/things"),
        ("/things", "/api/things"),
        ("things/1?x=2", "/api/things/1?x=2"),
        ("things?next=https://x.example/y", "/api/things?next=https://x.example/y"),
        ("things/a:b", "/api/things/a:b"),
    ],
)
def test_relative_path_is_taken_below_the_api_base(at, path, arrives):
    """With or without a slash, whatever stands in the query."""
    session, api = at()
    session.get(path)
    assert api.asked[0].path == arrives


def test_absolute_url_is_taken_as_it_is(at):
    """Upper case and all."""
    session, api = at()
    session.get(f"HTTP://127.0.0.1:{api.port}/other")
    assert (api.asked[0].path, api.asked[0].headers["authorization"]) == ("/other", "Bearer access-token-1")


def test_params_headers_and_json_arrive(at):
    """As with any session."""
    session, api = at()
    session.headers["X-Session"] = "s"
    session.params = {"a": "1"}
    session.post("things", params={"b": "2"}, headers={"X-Mine": "m"}, json={"c": 3})
    (asked,) = api.asked
    assert (asked.path, json.loads(asked.body)) == ("/api/things?a=1&b=2", {"c": 3})
    assert (asked.headers["x-session"], asked.headers["x-mine"], asked.headers["user-agent"]) == ("s", "m", "test")


def test_settings_headers_are_sent(build, serve):
    """`headers` of the integration."""
    api = serve(DONE)
    house = build(None, api, headers='{ Accept = "application/xml" }')
    house.session(house.admit()).get("x")
    assert api.asked[0].headers["accept"] == "application/xml"


def test_cookies_are_kept_also_from_a_rejected_request(at):
    """A cookie set with the 401 belongs to the session like any other."""
    session, api = at(
        Answer(401, b"", [("Set-Cookie", "first=1")]), Answer(200, b"", [("Set-Cookie", "second=2")]), DONE
    )
    session.get("a")
    session.get("b")
    assert dict(session.cookies) == {"first": "1", "second": "2"}
    assert set(api.asked[2].headers["cookie"].split("; ")) == {"first=1", "second=2"}


@pytest.mark.parametrize("answers", [[DONE], [Answer(401), DONE]])
def test_streaming_leaves_the_body_on_the_wire(at, answers):
    """`stream=True`, replay or not."""
    session, _ = at(*answers)
    with session.get("things", stream=True) as response:
        assert response.raw.read() == DONE.body


def test_streamed_lines_are_read_one_by_one(at):
    """`iter_lines` of an answer sent in chunks."""
    body = b"4\r\na\nb\n\r\n2\r\nc\n\r\n0\r\n\r\n"
    session, _ = at(Answer(200, body, [("Transfer-Encoding", "chunked")]))
    with session.get("things", stream=True) as response:
        assert list(response.iter_lines()) == [b"a", b"b", b"c"]


class TestHooks:
    """They see the answer that counts."""

    def test_that_raises_for_status_does_not_prevent_the_refresh(self, at):
        """The commonest hook there is."""
        session, _ = at(Answer(401), DONE)
        session.hooks["response"] = [lambda response, *_, **__: response.raise_for_status()]
        assert session.get("things").json() == {"done": True}

    def test_see_each_answer_once(self, at):
        """The rejected one is not an answer."""
        seen = []
        session, _ = at(Answer(401), DONE)
        session.get("things", hooks={"response": lambda response, *_, **__: seen.append(response.status_code)})
        assert seen == [200]

    def test_may_replace_the_answer(self, at):
        """What a hook returns is what the caller gets."""
        session, _ = at()
        other = requests.Response()
        assert session.get("things", hooks={"response": lambda *_, **__: other}) is other

    def test_see_the_second_rejection(self, at):
        """That one is the caller's."""
        session, _ = at(Answer(401))
        with pytest.raises(requests.HTTPError):
            session.get("things", hooks={"response": lambda response, *_, **__: response.raise_for_status()})

    def test_see_every_hop_of_a_redirect(self, at):
        """As with requests."""
        seen = []
        session, _ = at(Answer(302, b"", [("Location", "/api/new")]), DONE)
        session.get("things", hooks={"response": lambda response, *_, **__: seen.append(response.status_code)})
        assert seen == [302, 200]


def test_prepared_request_is_sent(at):
    """`prepare_request` and `send`, as client libraries do."""
    session, api = at(Answer(401), DONE)
    prepared = session.prepare_request(requests.Request("POST", f"{api.origin}/api/x", data={"a": "b"}))
    response = session.send(prepared, timeout=5)
    assert (response.json(), api.asked[1].body, response.request is prepared) == ({"done": True}, b"a=b", True)


def test_prepared_request_keeps_the_session_s_verify_on_its_redirects(build, serve, certified):
    """`send` without `verify` means the session's own, on every hop."""
    api = serve(Answer(302, b"", [("Location", "/api/new")]), DONE, tls=certified)
    house = build(None, api)
    session = house.session(house.admit())
    session.verify = str(certified[0])
    prepared = session.prepare_request(requests.Request("GET", f"{api.origin}/api/x"))
    assert session.send(prepared).status_code == 200


def test_unprepared_request_is_refused_as_by_requests(at):
    """A mistake, told as such."""
    session, api = at()
    with pytest.raises(ValueError, match="PreparedRequest"):
        session.send(requests.Request("GET", f"{api.origin}/api/x"))


def test_adapter_of_the_caller_s_own_is_used(at):
    """`mount` works, also for adapters whose answers are made by hand."""
    from requests.adapters import BaseAdapter

    class Canned(BaseAdapter):
        def send(self, request, **kwargs):
            response = requests.Response()
            response.status_code, response.url, response.request = 403, request.url, request
            response._content = b'{"error": "forbidden"}'
            return response

        def close(self):
            pass

    session, api = at()
    session.mount(api.origin, Canned())
    assert session.get("things").status_code == 403


def test_response_and_its_history_are_whole(at):
    """`url`, `history`, `elapsed` and `request` after a replay."""
    session, api = at(Answer(401), DONE)
    response = session.get("things")
    assert (response.url, response.history, response.request.method) == (f"{api.origin}/api/things", [], "GET")


class TestTimeout:
    """Never none."""

    def test_of_the_request_wins(self, at):
        """Over the session's."""
        slow = Answer(before=lambda: time.sleep(1))
        session, _ = at(slow)
        with pytest.raises(requests.ReadTimeout):
            session.get("things", timeout=0.05)

    def test_is_not_tried_again(self, at):
        """Twice the time is not what the caller allowed."""
        session, api = at(Answer(before=lambda: time.sleep(0.5)))
        with pytest.raises(requests.Timeout):
            session.get("things", timeout=0.05)
        assert (len(api.asked), session.requests_sent) == (1, 1)

    def test_of_connecting_is_told_as_such(self, at):
        """At once, as the error that requests has for it."""
        session, _ = at()
        with socket.socket() as deaf, ExitStack() as stack:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            for _ in range(3):  # fills the queue of a listener that accepts nobody
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(deaf.getsockname())
            with pytest.raises(requests.ConnectTimeout):
                session.get(f"http://127.0.0.1:{deaf.getsockname()[1]}/x", timeout=(0.1, 1))

    @pytest.mark.parametrize("timeout", [5, (5, 5), (None, 5), None])
    def test_may_have_any_form(self, at, timeout):
        """A number, a pair, or nothing."""
        session, _ = at()
        assert session.get("things", timeout=timeout).status_code == 200

    def test_of_the_session_is_there_without_one(self, at):
        """A job that names none does not hang for ever."""
        slow = Answer(before=lambda: time.sleep(1))
        session, _ = at(slow, timeout=(1.0, 0.05))
        with pytest.raises(requests.ReadTimeout):
            session.post("things")

    @pytest.mark.parametrize("timeout", [30, (30, 30), None])
    def test_is_cut_by_the_run_s_deadline(self, build, serve, timeout):
        """What is left of the run is all that a request may take."""

        class Left(NoPace):
            def before(self, url):
                return 0.05

        api = serve(Answer(before=lambda: time.sleep(1)))
        house = build(None, api)
        with pytest.raises(requests.ReadTimeout):
            house.session(house.admit(), pace=Left()).post("things", timeout=timeout)

    def test_by_urllib3_is_left_to_the_caller(self, build, serve):
        """As requests takes a `Timeout` object as well."""
        from urllib3.util import Timeout

        class Left(NoPace):
            def before(self, url):
                return 0.0

        api = serve(DONE)
        house = build(None, api)
        assert house.session(house.admit(), pace=Left()).get("x", timeout=Timeout(5)).status_code == 200


class TestPace:
    """Asked before and after every request; told of answers that want patience."""

    class Patient:
        """Says yes as often as it was told to."""

        def __init__(self, times: int) -> None:
            self.times = times
            self.asked: list[str] = []
            self.told: list[int] = []

        def check(self):
            """Nothing ends the run."""

        def before(self, url):
            self.asked.append(url)

        def heard(self, response):
            self.told.append(response.status_code)

        def again(self, outcome, attempt):
            lost = isinstance(outcome, requests.RequestException)
            return (lost or outcome.status_code == 429) and attempt <= self.times

    def test_sends_an_idempotent_request_again(self, build, serve):
        """And its hooks see the last answer only."""
        api = serve(Answer(429), Answer(429), DONE)
        house, pace = build(None, api), self.Patient(2)
        session = house.session(house.admit(), pace=pace)
        session.hooks["response"] = [lambda response, *_, **__: response.raise_for_status()]
        assert session.get("things").status_code == 200
        assert (len(pace.asked), session.requests_sent) == (3, 3)
        assert (pace.told, session.requests_repeated) == ([429, 429, 200], 2)

    @pytest.mark.parametrize(
        ("method", "headers", "arrives"),
        [
            ("GET", {}, 2),
            ("PUT", {}, 2),
            ("DELETE", {}, 2),
            ("POST", {}, 1),
            ("PATCH", {}, 1),
            ("POST", {"Idempotency-Key": "one"}, 2),
            ("PATCH", {"idempotency-key": "one"}, 2),
            ("POST", {"Idempotency-Key": ""}, 1),
        ],
    )
    @pytest.mark.parametrize("fault", [Answer(429), Answer(raw=lambda _handler: None)], ids=["refused", "lost"])
    def test_sends_again_what_may_be_repeated_and_nothing_else(self, build, serve, method, headers, arrives, fault):
        """By its method, or because it names itself: then it arrives the same."""
        api = serve(fault, fault, DONE) if method in {"GET", "PUT", "DELETE"} and fault.raw else serve(fault, DONE)
        house = build(None, api)
        session = house.session(house.admit(), pace=self.Patient(2))
        with suppress(requests.ConnectionError):
            session.request(method, "things", headers=headers, json={"a": 1})
        assert session.requests_sent == arrives
        assert len({(one.method, one.path, one.body, one.headers.get("idempotency-key")) for one in api.asked}) == 1

    def test_sends_again_by_the_integrations_own_header(self, build, serve):
        """`idempotency_header`."""
        api = serve(Answer(429), DONE)
        house = build(None, api)
        session = house.session(house.admit(), pace=self.Patient(2), idempotency_header="X-Request-Id")
        assert session.post("things", headers={"X-Request-Id": "one"}).status_code == 200

    def test_sends_no_stream_again(self, build, serve):
        """It is spent."""
        api = serve(Answer(429), DONE)
        house = build(None, api)
        session = house.session(house.admit(), pace=self.Patient(2))
        assert session.put("things", data=iter([b"part"])).status_code == 429

    def test_reads_an_answer_again_that_broke_off(self, build, serve):
        """The header was there, the body was not."""
        api = serve(Answer(headers=[("Content-Length", "100")], raw=None, body=b"half"), DONE)
        house = build(None, api)
        assert house.session(house.admit(), pace=self.Patient(2), timeout=(2.0, 0.5)).get("things").json() == {
            "done": True
        }

    def test_is_asked_for_the_replay_as_well(self, build, serve):
        """A replay counts against the rate limit like any request."""
        api = serve(Answer(401), DONE)
        house, pace = build(serve(TOKENS), api), self.Patient(0)
        house.session(house.admit(), pace=pace).get("things")
        assert len(pace.asked) == 2


def test_session_closes_its_connections_with_its_block(at):
    """`with` works, and a closed session may still be used, as with requests."""
    session, _ = at()
    with session:
        session.get("a")
    assert session.get("b").status_code == 200
    session.close()


def test_session_without_api_base_takes_absolute_urls_only(build, serve):
    """A path then has nowhere to go."""
    api = serve(DONE)
    house = build(None, None)
    house.configure(api_base=None, api_origins=(api.origin,))
    session = house.session(house.admit())
    with pytest.raises(requests.exceptions.MissingSchema):
        session.get("things")
    session.get(f"{api.origin}/x")
    assert api.asked[0].headers["authorization"] == "Bearer access-token-1"


def test_session_shows_no_token_in_its_errors(build, serve):
    """Neither the access token nor the refresh token, whatever goes wrong."""
    house = build(serve(Answer(500)), serve(Answer(401)))
    with pytest.raises(Exception) as caught:
        house.session(house.admit()).get("things")
    assert "token-1" not in f"{caught.value!r} {getattr(caught.value, 'evidence', '')}"
