"""What a job keeps of an answer's version, and asks with."""

from __future__ import annotations

import json

import pytest
import requests

from worker import validator
from worker.errors import WorkerError
from worker.jobs.validators import conditions

URL = "https://api.test/prices"
DATE = "Thu, 01 Jan 2026 12:00:00 GMT"
LONG_AGO, JUST_NOW = "Thu, 01 Jan 2026 11:00:00 GMT", "Thu, 01 Jan 2026 11:59:30 GMT"


def answer(url: str = URL, **fields: str) -> requests.Response:
    response = requests.Response()
    response.status_code = 200
    response.headers.update({name.replace("_", "-"): value for name, value in fields.items()})
    response.request = requests.Request("GET", url).prepare()
    return response


def asked(known, url: str = URL, params=None) -> dict[str, str]:
    return conditions(known, requests.Session(), url, params)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ETag": '"v1"'}, {"If-None-Match": '"v1"'}),
        ({"ETag": 'W/"v1"'}, {"If-None-Match": 'W/"v1"'}),
        ({"Last_Modified": LONG_AGO, "Date": DATE}, {"If-Modified-Since": LONG_AGO}),
        (
            {"ETag": '"v1"', "Last_Modified": LONG_AGO, "Date": DATE},
            {"If-None-Match": '"v1"', "If-Modified-Since": LONG_AGO},
        ),
        ({"ETag": '"v1"', "Last_Modified": JUST_NOW, "Date": DATE}, {"If-None-Match": '"v1"'}),
    ],
)
def test_what_an_answer_says_of_its_version_is_asked_with(fields, expected):
    """And survives a cursor, which is JSON."""
    assert asked(json.loads(json.dumps(validator(answer(**fields))))) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ETag": ""},
        {"ETag": "x" * 1001},
        {"Last_Modified": JUST_NOW, "Date": DATE},
        {"Last_Modified": LONG_AGO},
        {"Last_Modified": "yesterday", "Date": DATE},
        {"Last_Modified": LONG_AGO, "Date": "now"},
    ],
)
def test_what_cannot_be_relied_on_is_no_validator(fields):
    """A Last-Modified of the same minute may hide another change (RFC 9110 section 8.8.2.2)."""
    assert validator(answer(**fields)) is None


def test_validator_of_another_address_asks_for_everything():
    """Version 5 of one list says nothing about another."""
    known = validator(answer(f"{URL}?list=1", ETag='"5"'))
    assert asked(known, URL, {"list": "2"}) == {}
    assert asked(known, URL, {"list": "1"}) == {"If-None-Match": '"5"'}


def test_validator_belongs_to_the_address_that_was_asked_first():
    """A redirect may lead elsewhere every time."""
    last = answer("https://storage.test/7f3a", ETag='"v1"')
    last.history = [answer()]
    assert asked(validator(last)) == {"If-None-Match": '"v1"'}


def test_validator_holds_no_address():
    """There may be a key in it."""
    assert "s3cret" not in json.dumps(validator(answer(f"{URL}?key=s3cret", ETag='"v1"')))


def test_no_validator_asks_for_everything():
    """The first run."""
    assert asked(None) == {}


@pytest.mark.parametrize("known", ["2026-01-01", 5, ["v1"], {"etag": 5}])
def test_what_is_no_validator_is_refused(known):
    """Silently asking for everything would look as if it worked."""
    with pytest.raises(WorkerError, match=r"validator\(answer\)"):
        asked(known)
