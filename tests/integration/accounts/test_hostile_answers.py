"""Answers that no sane server gives. None of them costs a grant, ends in a traceback or shows a secret."""

from __future__ import annotations

import contextlib
import json
import logging

import pytest
import requests
from scripted_server import Answer

from worker.accounts.pace import NoPace
from worker.errors import ConfigProblems, DeadlineExceeded, Misconfigured, TryAgainLater, WorkerError
from worker.jobs.pages import Collection, paginate

GOOD = b'{"access_token": "access-token-2", "refresh_token": "refresh-token-2", "expires_in": 3600}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
MINE = "Bearer access-token-1"


def raw(*parts: bytes, repeat: int = 1) -> Answer:
    """These bytes, the last part so many times over, and then the end of the connection."""

    def write(handler) -> None:
        with contextlib.suppress(OSError):
            for part in parts[:-1]:
                handler.wfile.write(part)
            for _ in range(repeat):
                handler.wfile.write(parts[-1])

    return Answer(raw=write)


def chunked(*frames: bytes) -> Answer:
    """A body in these frames, sizes and all."""
    return raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(frames))


DEEP = b"[" * 100_000 + b"]" * 100_000
MANY_CHALLENGES = ", ".join(f'X{number} realm="r"' for number in range(3000))

#: What leaves it unknown whether the refresh token was spent: in doubt, and tried again.
UNKNOWN = {
    "header line of 100 KB": raw(HEAD + b"X: " + b"x" * 100_000 + b"\r\n\r\n"),
    "thousands of headers": raw(HEAD, b"X-Y: z\r\n", repeat=5000),
    "challenge of 1 MB": raw(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer ", b'a="b", ' * 1000, repeat=150),
    "100 without end": raw(b"HTTP/1.1 100 Continue\r\n\r\n", repeat=50_000),
    "103 without end": raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", repeat=50_000),
    "chunk of no size": chunked(b"zz\r\n" + GOOD + b"\r\n0\r\n\r\n"),
    "chunk of less than nothing": chunked(b"-5\r\n" + GOOD),
    "chunk longer than it is": chunked(b"ffff\r\n" + GOOD),
    "chunk as long as memory": chunked(b"ffffffffffffffff\r\n" + GOOD),
    "chunks without an end": chunked(b"%x\r\n" % len(GOOD) + GOOD + b"\r\n"),
    "body shorter than it says": raw(HEAD + b"Content-Length: 1000\r\n\r\n" + GOOD),
    "two lengths": raw(HEAD + b"Content-Length: 5\r\nContent-Length: 20\r\n\r\n" + GOOD),
    "no HTTP at all": raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "status of many digits": raw(b"HTTP/1.1 200200200 OK\r\n\r\n"),
    "nothing": raw(b""),
}
#: What says nothing, or something that must not be believed: tried again.
POSTPONED = {
    "arrays in arrays": Answer(200, DEEP),
    "objects in objects": Answer(400, b'{"error":' * 100_000 + b"1" + b"}" * 100_000),
    "body longer than it says": raw(HEAD + b"Content-Length: 20\r\n\r\n" + GOOD),
    "gzip that is none": Answer(200, GOOD, [("Content-Encoding", "gzip")]),
    "gzip of gzip of nothing": Answer(200, GOOD, [("Content-Encoding", ", ".join(["gzip"] * 50))]),
    "random bytes": Answer(400, bytes(range(256)) * 40),
    "half of UTF-16": Answer(400, '{"error": "invalid_grant"}'.encode("utf-16")[:-1]),
    "page that looks like an error": Answer(400, b"<html>invalid_grant</html>", [("Content-Type", "text/html")]),
    "dead grant, said by a busy server": Answer(503, b'{"error": "invalid_grant"}'),
    "thousands of challenges": Answer(503, b"", [("WWW-Authenticate", MANY_CHALLENGES)]),
}
#: Oddities around tokens that are good: none of them may cost the rotated refresh token.
GRANTED = {
    "hints before the answer": raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + WHOLE
    ),
    "102 before the answer": raw(b"HTTP/1.1 102 Processing\r\n\r\n" * 5 + WHOLE),
    "byte order mark": Answer(200, b"\xef\xbb\xbf" + GOOD),
    "UTF-16": Answer(200, GOOD.decode().encode("utf-16")),
    "invalid UTF-8 beside the tokens": Answer(200, GOOD[:-1] + b', "name": "\xff\xfe"}'),
    "a key twice": Answer(200, b'{"access_token": "old", ' + GOOD[1:]),
    "negative length": raw(HEAD + b"Content-Length: -1\r\nConnection: close\r\n\r\n" + GOOD),
    "hundreds of cookies": Answer(200, GOOD, [("Set-Cookie", f"c{n}={'v' * 500}") for n in range(90)]),
}


class TestTokenEndpoint:
    """A refresh that is answered so."""

    @pytest.fixture
    def refused(self, build, serve, caplog):
        """Asks with this answer, then with a good one; checks that nothing is lost and nothing shown."""

        def ask(answer: Answer) -> WorkerError:
            caplog.set_level(logging.DEBUG)
            token = serve(answer)
            house = build(token)
            account = house.admit()
            with pytest.raises(TryAgainLater) as caught:
                house.refresh(account)
            told = (
                f"{caught.value!r} {caught.value.hint} {caught.value.evidence} {house.account().reason} {caplog.text}"
            )
            assert "refresh-token-1" not in told
            assert house.secret not in told
            assert house.account().state in {"active", "in_doubt"}
            token.answers = [Answer(200, GOOD)]
            house.clock.advance(3600)
            assert house.refresh(account).generation == 2
            assert (house.account().state, house.refresh_token()) == ("active", "refresh-token-2")
            return caught.value

        return ask

    @pytest.mark.parametrize("name", UNKNOWN)
    def test_answer_that_breaks_off_leaves_a_doubt(self, refused, name):
        """Whether the token was spent is unknown, and said to be."""
        assert "whether the refresh token was spent is unknown" in refused(UNKNOWN[name]).message

    @pytest.mark.parametrize("name", POSTPONED)
    def test_answer_that_says_nothing_changes_nothing(self, refused, name):
        """No consent is asked for by garbage."""
        assert "no new access token" in refused(POSTPONED[name]).message

    @pytest.mark.parametrize("name", GRANTED)
    def test_tokens_are_taken_in_spite_of(self, build, serve, name):
        """The refresh token in there is the only one that is left."""
        house = build(serve(GRANTED[name]))
        house.refresh(house.admit())
        assert (house.account().state, house.refresh_token()) == ("active", "refresh-token-2")

    @pytest.mark.parametrize(
        "lifetime",
        ["1e400", "1" + "0" * 5000, "NaN", "Infinity", "-1", "-1e99", "true", "[]", "{}", '"1e400"', '"soon"', "null"],
    )
    def test_lifetime_that_makes_no_sense_is_unknown(self, build, serve, lifetime):
        """It neither overflows a clock nor costs the tokens."""
        body = GOOD.replace(b"3600", lifetime.encode())
        house = build(serve(Answer(200, body)))
        assert house.refresh(house.admit()).expires_at is None

    @pytest.mark.parametrize("token", ["a\\r\\nX-Evil: 1", "a\\nb", "a\\u0000b", "\\u202ea", "a b\\tc"])
    def test_access_token_that_would_be_two_lines_is_none(self, build, serve, token):
        """It is never stored, so it is never sent."""
        house = build(serve(Answer(200, f'{{"access_token": "{token}", "expires_in": 60}}'.encode())))
        with pytest.raises((TryAgainLater, Misconfigured)):
            house.refresh(house.admit())
        assert (house.grant().generation, house.account().state) == (1, "active")

    @pytest.mark.parametrize("wait", ["9" * 400, "1e300", "Fri, 31 Dec 9999 23:59:59 GMT", "-5", "soon", "\x00"])
    def test_wait_that_makes_no_sense_is_not_honoured(self, build, serve, wait):
        """A wait of centuries would be the end of the account; ours is taken instead."""
        house = build(serve(Answer(503, b"", [("Retry-After", wait)])))
        with pytest.raises(TryAgainLater) as caught:
            house.refresh(house.admit())
        assert caught.value.after < 3600


class Deadline(NoPace):
    """A run whose time is up after so many looks."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def check(self) -> None:
        """See Pace."""
        self._looks -= 1
        if self._looks < 0:
            raise DeadlineExceeded


class TestApi:
    """A request of a job that is answered so."""

    def test_answer_without_end_is_refused_in_words(self, build, serve):
        """Which option to turn, or what else to do; the session goes on."""
        api = serve(Answer(200, b"x" * 5000), Answer(200, b"fine"))
        house = build(None, api)
        session = house.session(house.admit(), largest_answer=1000)
        with pytest.raises(WorkerError, match="longer than 1000 bytes") as caught:
            session.get("things", params={"access_token": "secret"})
        assert "largest_answer" in caught.value.hint
        assert "secret" not in caught.value.message
        assert session.get("things").text == "fine"

    def test_answer_that_is_streamed_is_the_callers_to_read(self, build, serve):
        """However long it is."""
        house = build(None, serve(Answer(200, b"x" * 5000)))
        response = house.session(house.admit(), largest_answer=1000).get("things", stream=True)
        assert len(response.content) == 5000

    def test_answer_that_drips_ends_with_the_run(self, build, serve):
        """Each byte restarts the read timeout; the run's own deadline does not."""
        drip = raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", repeat=1_000_000)
        house = build(None, serve(drip))
        with pytest.raises(DeadlineExceeded):
            house.session(house.admit(), pace=Deadline(3)).get("things")

    def test_header_fields_that_drip_end_with_the_run(self, build, serve):
        """They too restart the read timeout with every byte."""
        house = build(None, serve(raw(HEAD + b"X: ", b"x", repeat=60_000)))
        with pytest.raises(DeadlineExceeded):
            house.session(house.admit(), pace=Deadline(3)).get("things")

    def test_stream_that_drips_ends_with_the_run(self, build, serve):
        """In its caller's hands: the job need not look at the clock."""
        drip = raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", repeat=1_000_000)
        house = build(None, serve(drip))
        response = house.session(house.admit(), pace=Deadline(5)).get("things", stream=True)
        with pytest.raises(DeadlineExceeded):
            list(response.iter_content(100))

    def test_interim_answer_is_not_taken_for_the_answer(self, build, serve):
        """On a kept connection, the true one would be the next request's."""
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"

        def both(handler) -> None:
            handler.wfile.write(hints + HEAD + b"Content-Length: 5\r\n\r\nfirst")
            handler.rfile.readline()
            while handler.rfile.readline().strip():
                pass
            handler.wfile.write(HEAD + b"Content-Length: 6\r\n\r\nsecond")

        house = build(None, serve(Answer(raw=both), Answer(200, b"second")))
        session = house.session(house.admit())
        answers = [session.get("a"), session.get("b")]
        assert [(one.status_code, one.text) for one in answers] == [(200, "first"), (200, "second")]

    def test_bytes_behind_an_answer_are_nobodys(self, build, serve):
        """What follows a body that is longer than it says is not read as the next answer."""
        forged = HEAD + b"Content-Length: 6\r\n\r\nforged"
        house = build(None, serve(raw(HEAD + b"Content-Length: 5\r\n\r\nfirst" + forged), Answer(200, b"second")))
        session = house.session(house.admit())
        assert [session.get(path).text for path in ("a", "b")] == ["first", "second"]

    def test_thousands_of_challenges_are_read_once(self, build, serve):
        """One refresh, one retry."""
        api = serve(Answer(401, b"", [("WWW-Authenticate", MANY_CHALLENGES)]), Answer())
        token = serve(Answer(200, GOOD))
        house = build(token, api)
        assert house.session(house.admit()).get("things").status_code == 200
        assert (len(token.asked), len(api.asked)) == (1, 2)

    @pytest.mark.parametrize("body", [DEEP, b"{" * 50_000, b"\xff\xfe" * 999, b'{"error": 1' + b"0" * 5000 + b"}"])
    def test_garbage_spends_no_refresh(self, build, serve, body):
        """A 403 has to say in words that it is about the token."""
        api, token = serve(Answer(403, body, [("Content-Type", "application/json")])), serve(Answer(200, GOOD))
        house = build(token, api)
        assert house.session(house.admit()).get("things").status_code == 403
        assert token.asked == []

    @pytest.mark.parametrize("target", ["http://[::1", "http://127.0.0.1:99999/", "http://127.0.0.1:x/"])
    def test_redirect_to_no_address_ends_the_request(self, build, serve, target):
        """In the error that requests has for it, which for half an IPv6 address is a plain ValueError."""
        api = serve(Answer(302, b"", [("Location", target)]))
        house = build(None, api)
        with pytest.raises((requests.RequestException, ValueError)):
            house.session(house.admit()).get("things")
        assert len(api.asked) == 1

    def test_redirect_from_tls_to_none_loses_the_token(self, build, serve, certified):
        """The same host and path, one letter less."""
        plain = serve(Answer())
        api = serve(Answer(302, b"", [("Location", f"{plain.origin}/api/things")]), tls=certified)
        house = build(None, api)
        session = house.session(house.admit())
        session.verify = str(certified[0])
        session.get("things")
        assert [request.headers.get("authorization") for request in plain.asked] == [None]

    def test_flood_of_cookies_stays_small(self, build, serve):
        """New ones with every answer, and one that is too long."""
        names = iter(range(10_000))
        api = serve(Answer())
        api.answers = [
            Answer(200, b"", [("Set-Cookie", f"c{next(names)}={'v' * 10}") for _ in range(50)]) for _ in range(20)
        ]
        api.answers += [Answer(200, b"", [("Set-Cookie", f"long={'v' * 5000}")])]
        house = build(None, api)
        session = house.session(house.admit())
        for _ in range(22):
            session.get("things")
        assert 50 <= len(session.cookies) <= 100
        assert "long" not in session.cookies

    @pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
    def test_header_of_two_lines_is_refused_by_the_config(self, build, value):
        """Before anything is sent."""
        with pytest.raises(ConfigProblems, match="headers"):
            build(headers=f"{{ X-Test = {json.dumps(value)} }}")


def page(body: bytes, **headers: str) -> Answer:
    return Answer(200, body, [("Content-Type", "application/json"), *headers.items()])


PAGES = {
    "arrays in arrays": page(DEEP),
    "a number of thousands of digits": page(b'{"items": [{"a": ' + b"9" * 5000 + b"}]}"),
    "bytes in no encoding": page(b'[{"a": "\xff\xfe\xff"}]' * 50_000),
    "an encoding that nobody knows": Answer(200, b"[]", [("Content-Type", "application/json; charset=x-none")]),
    "a next page at no address": page(b'[{"a": 1}]', Link='<http://[::1>; rel="next"'),
    "a next page at a port of a million": page(b'[{"a": 1}]', Link='<http://127.0.0.1:1000000/>; rel="next"'),
    "a next page in a script": page(b'[{"a": 1}]', Link='<javascript:alert(1)>; rel="next"'),
    "a next page on another host": page(b'[{"a": 1}]', Link='<http://evil.example/>; rel="next"'),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_end_in_words_at(build, serve, name):
    """A WorkerError that names the place."""
    api = serve(PAGES[name])
    house = build(None, api)
    session = house.session(house.admit())
    with pytest.raises(WorkerError) as caught:
        list(paginate(lambda url, params: session.get(url, params=params), Collection(f"{api.origin}/api/x", {})))
    assert str(api.port) in caught.value.message
    assert len(caught.value.message) < 1000
