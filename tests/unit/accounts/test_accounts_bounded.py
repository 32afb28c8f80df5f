"""A body that is put where requests looks for it: under private names, and these tests tell when they go."""

from __future__ import annotations

import io

import pytest
import requests
from urllib3 import HTTPResponse

from worker.accounts.bounded import UnreadableError, is_read, load

BODY = b'{"name": "value"}'


@pytest.fixture
def response():
    """An answer whose body is still to be read, as `stream=True` gives it."""
    made = requests.Response()
    made.status_code = 200
    made.raw = HTTPResponse(io.BytesIO(BODY), preload_content=False)
    return made


def test_body_is_not_read_until_somebody_does(response):
    """Ours or anybody's: requests knows it by the same mark."""
    before = is_read(response)
    assert response.content == BODY
    assert (before, is_read(response)) == (False, True)


def test_loaded_body_is_found_by_every_way_to_read_it(response):
    """The network is not asked again: it has nothing more."""
    load(response, 100)
    assert (response.content, response.text, response.json()) == (BODY, BODY.decode(), {"name": "value"})
    assert b"".join(response.iter_content(4)) == BODY
    assert list(response.iter_lines()) == [BODY]


def test_loading_twice_reads_once(response):
    """The second time there is nothing to do."""
    load(response, 100)
    load(response, 1)
    assert response.content == BODY


def test_body_beyond_the_bound_is_refused(response):
    """And what has come of it is not taken for the whole."""
    with pytest.raises(UnreadableError, match="longer than 16 bytes"):
        load(response, len(BODY) - 1)
    assert not is_read(response)
