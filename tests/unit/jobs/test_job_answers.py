from __future__ import annotations

import pytest

from worker.errors import Misconfigured, TryAgainLater, WorkerError
from worker.jobs.addresses import origin, plain, resolve
from worker.jobs.answers import require_success
from worker.testing.answers import Answer, CannedAdapter, canned_session

DATE = "Thu, 01 Jan 2026 00:00:00 GMT"


def _answer(answer):
    return canned_session(CannedAdapter([answer], "https://api.test")).get("https://api.test/things?token=abc")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_answer_that_a_pause_mends_says_so(status):
    """The run is retried instead of failed."""
    with pytest.raises(TryAgainLater):
        require_success(_answer(status), now=0)


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"Retry-After": "86400"}, 86400),
        ({"Retry-After": "Thu, 01 Jan 2026 01:00:00 GMT", "Date": DATE}, 3600),
        ({"Retry-After": "Thu, 01 Jan 2026 01:00:00 GMT"}, 3000),
        ({"Retry-After": DATE, "Date": "Thu, 01 Jan 2026 01:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"RateLimit": '"minute";r=3;t=9, "day";r=0;t=7200'}, 7200),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767226800", "Date": DATE}, 1200),
        ({"RateLimit": '"day";r=0;t=7200', "Retry-After": "5"}, 5),
        ({}, None),
    ],
)
def test_answer_retry_after_is_taken_whole(headers, after):
    """Seconds or a date, and a date by the server's own clock."""
    with pytest.raises(TryAgainLater) as caught:
        require_success(_answer(Answer(status=429, headers=headers)), now=1_767_225_600 + 600)
    assert caught.value.after == after


@pytest.mark.parametrize("fields", [{"Retry-After": "60"}, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"}])
def test_answer_forbidden_for_now_is_no_refusal(fields):
    """GitHub says 403 when a limit is used up."""
    with pytest.raises(TryAgainLater) as caught:
        require_success(_answer(Answer(status=403, headers=fields)), now=0)
    assert caught.value.after == 60


@pytest.mark.parametrize("fields", [{}, {"X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": "60"}])
def test_answer_forbidden_is_a_refusal(fields):
    """However much is left."""
    with pytest.raises(WorkerError) as caught:
        require_success(_answer(Answer(status=403, headers=fields)), now=0)
    assert not isinstance(caught.value, TryAgainLater)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Answer(404, json={"message": "no such thing"}), "GET https://api.test/things answered 404 Not Found: no such"),
        (Answer(400, json={"title": "Bad", "detail": "since is no date"}), "since is no date"),
        (Answer(400, json={"error": {"code": 7, "message": "nested"}}), "nested"),
        (Answer(400, json={"errors": [{"message": "first"}, {"message": "second"}]}), "first"),
        (Answer(400, text="plain  words\n"), "plain words"),
        (Answer(403, xml="<html>long page</html>", headers={"Content-Type": "text/html"}), "403 Forbidden$"),
    ],
)
def test_answer_that_failed_is_told_in_the_apis_words(answer, what):
    """Method, place without its query, status, and one sentence."""
    with pytest.raises(WorkerError, match=what) as caught:
        require_success(_answer(answer), now=0)
    assert not isinstance(caught.value, TryAgainLater)
    assert "abc" not in caught.value.message


def test_answer_may_be_explained_by_the_job():
    """For APIs with error documents of their own."""
    with pytest.raises(WorkerError, match="404 Not Found: Gone fishing"):
        require_success(_answer(404), now=0, explain=lambda _response: "Gone fishing")


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/invoices", "https://api.test/v1/invoices"),
        ("invoices?a=1", "https://api.test/v1/invoices?a=1"),
        ("//evil.test/x", "https://api.test/v1/evil.test/x"),
        ("https://other.test/x", "https://other.test/x"),
        ("", "https://api.test/v1/"),
    ],
)
@pytest.mark.parametrize("base", ["https://api.test/v1", "https://api.test/v1/"])
def test_address_path_begins_at_the_api_base(base, path, url):
    """With or without a slash on either side; only an absolute URL leads elsewhere."""
    assert resolve(base, path) == url


def test_address_path_without_api_base_is_a_fault_of_the_config():
    """And says which option is missing."""
    with pytest.raises(Misconfigured, match="no api_base"):
        resolve(None, "/invoices")


def test_address_origins_are_compared_in_one_spelling():
    """Case and default port do not make another origin; scheme does."""
    assert origin("HTTPS://API.test/x") == origin("https://api.test:443") != origin("http://api.test")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:s3cret@api.test:81/a/b?key=s3cret#s3cret", "https://api.test:81/a/b"),
        ("https://api.test", "https://api.test"),
        ("https://[half", "the other side"),
        ("/things", "the other side"),
        (None, "the other side"),
    ],
)
def test_address_is_shown_without_what_may_be_secret(url, shown):
    """Credentials, query, fragment."""
    assert plain(url) == shown
