"""Answers that a job must not trip over: XML bombs, nests, texts that a terminal would obey."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import TryAgainLater, WorkerError
from worker.jobs.addresses import origin
from worker.jobs.answers import require_success, retry_after
from worker.jobs.json_body import read_json
from worker.jobs.loading import load_jobs
from worker.sandbox.canned import XML_BOMB
from worker.testing import Answer, run_job
from worker.testing.answers import CannedAdapter, canned_session

BASE = "https://acme.arlo.test/api/2012-02-01/auth/resources/"
ENTITY = '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/hostname">]>'


@pytest.fixture
def events(tmp_path):
    """The job, loaded as the daemon loads it."""
    copy = tmp_path / "arlo.py"
    copy.write_bytes((Path(__file__).parents[3] / "jobs" / "arlo.py").read_bytes())
    copy.chmod(0o644)
    tmp_path.chmod(0o755)
    return load_jobs([tmp_path]).get("arlo.events").function


def answer(status=200, body=b"", **headers):
    """What `requests` hands out."""
    return canned_session(CannedAdapter([Answer(status, body=body, headers=headers)], "https://api.test")).get(
        "https://api.test/x"
    )


XML = {
    "billion laughs": (XML_BOMB, "amplification|document type"),
    "quadratic blow-up": (
        f'<!DOCTYPE r [<!ENTITY a "{"x" * 50_000}">]><Events>{"&a;" * 50_000}</Events>',
        "amplification|document type",
    ),
    "a file of this machine": (f"{ENTITY}<Events>&e;</Events>", "document type"),
    "a file elsewhere": ('<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd"><Events/>', "document type"),
    "elements in elements": ("<a>" * 100_000 + "</a>" * 100_000, "broken XML"),
    "megabytes": ("<Events>" + "<a/>" * 3_000_000 + "</Events>", "are the most that is read"),
    "half a document": ("<Events><Link", "broken XML"),
    "bytes in no encoding": (b"<Events>\xff\xfe</Events>", "broken XML"),
    "nothing": (b"", "broken XML"),
}


@pytest.mark.parametrize("name", XML)
def test_xml_that_is_no_plain_document_is_refused_in_words(events, name):
    """No entity is expanded, no file is opened, nothing is delivered."""
    document, says = XML[name]
    body = document if isinstance(document, bytes) else document.encode()
    with pytest.raises(WorkerError, match=says):
        run_job(events, responses=[Answer(200, body=body, headers={"Content-Type": "application/xml"})], api_base=BASE)


@pytest.mark.parametrize(
    "body",
    ["<ApiException><!-- why --><Code>No</Code></ApiException>", "<ApiException><?x?></ApiException>", XML_BOMB,
     f"{ENTITY}<ApiException><Message>&e;</Message></ApiException>", "<", ""],
)  # fmt: skip
def test_xml_of_an_error_is_read_as_carefully(events, body):
    """The error is the API's own, whatever its body holds."""
    with pytest.raises(WorkerError, match="answered 403") as caught:
        run_job(
            events,
            responses=[Answer(403, body=body.encode(), headers={"Content-Type": "application/xml"})],
            api_base=BASE,
        )
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    "body",
    [b'{"message": "no\\u001b[2J\\u202e\\nway"}', b"no\x1b[2J\xe2\x80\xae\nway", b'[[[["no\\r\\nway"]]]]'],
)
def test_words_of_an_api_are_fit_for_a_terminal(body):
    """Escapes, turned text and line ends are blanks."""
    with pytest.raises(WorkerError) as caught:
        require_success(answer(403, body), now=0)
    assert caught.value.message.isprintable()
    assert "no" in caught.value.message


@pytest.mark.parametrize(
    "body", [b"[" * 900 + b'"deep"' + b"]" * 900, b"[" * 100_000, b'{"error":' * 900 + b"1" + b"}" * 900]
)
def test_words_that_lie_too_deep_are_left_there(body):
    """An error in hand is not exchanged for another one."""
    with pytest.raises(TryAgainLater, match="answered 503"):
        require_success(answer(503, body), now=0)


@pytest.mark.parametrize("wait", ["9" * 400, "9" * 11, "Fri, 31 Dec 9999 23:59:59 GMT", "-1", "1e9", "soon"])
def test_wait_that_makes_no_sense_is_none(wait):
    """It would overflow the clock that it is added to."""
    assert retry_after(answer(503, b"", **{"Retry-After": wait}), now=0) is None


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        ('{"a": "\u00e9"}'.encode(), "application/json", {"a": "\u00e9"}),
        ('{"a": "\u00e9"}'.encode("utf-8-sig"), "application/json; charset=utf-8", {"a": "\u00e9"}),
        ('{"a": "\u00e9"}'.encode("utf-16"), "application/json", {"a": "\u00e9"}),
        ('{"a": "\u00e9"}'.encode("latin-1"), "application/json; charset=iso-8859-1", {"a": "\u00e9"}),
        ('{"a": "\u00e9"}'.encode(), "text/plain", {"a": "\u00e9"}),
    ],
)
def test_json_is_read_in_the_encoding_that_it_has(body, content_type, value):
    """Declared, or told by its first bytes."""
    assert read_json(answer(200, body, **{"Content-Type": content_type})) == value


@pytest.mark.parametrize("charset", ["", "; charset=none-such", "; charset=utf-16"])
def test_json_in_no_encoding_is_a_value_error(charset):
    """Not a guess, which takes minutes for megabytes."""
    with pytest.raises(ValueError, match=r"."):
        read_json(answer(200, b'{"a": "\xff\xfe"}' * 200_001, **{"Content-Type": f"application/json{charset}"}))


@pytest.mark.parametrize("url", ["http://[::1", "http://a:99999/", "http://a:b/", "https://[x]:y"])
def test_origin_of_no_url_is_none(url):
    """And so never one of the integration's own."""
    assert origin(url) == ""


def test_origin_keeps_a_port_of_zero():
    """Which is not the default one."""
    assert origin("https://api.test:0/x") != origin("https://api.test/x")
