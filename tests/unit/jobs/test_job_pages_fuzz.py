"""Whatever a collection's answers hold, paging ends: with the rows, or with a WorkerError."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.errors import WorkerError
from worker.jobs.answers import require_success
from worker.jobs.pages import Collection, paginate
from worker.jobs.paging import STYLES
from worker.testing import Answer
from worker.testing.answers import CannedAdapter, canned_session

URL = "https://api.test/things"
NAMES = st.sampled_from(
    ["items", "data", "next", "next_cursor", "links", "has_more", "total", "paging", "meta", "after"]
)
TARGETS = st.sampled_from(
    [
        "/things?page=2",
        "?page=3",
        URL,
        "https://evil.example/",
        "http://[::1",
        "https://api.test:x/",
        "javascript:1",
        "\\",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | TARGETS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
LINKS = st.lists(st.sampled_from(["<", ">", ";", ",", " ", "rel", "=", '"', "next", "prev"]) | TARGETS, max_size=12)
BODIES = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(BODIES, LINKS), min_size=1, max_size=4), st.sampled_from(sorted(STYLES)))
def test_paging_of_any_answers_ends(answers, style):
    """No page is asked for twice, and no host but the collection's own."""
    last = Answer(200, body=b"[]")
    canned = [Answer(200, body=body, headers={"Link": "".join(link)}) for body, link in answers]
    adapter = CannedAdapter([*canned, *[last] * 3], URL)
    session = canned_session(adapter)

    def fetch(url, params):
        return require_success(session.get(url, params=params), now=0)

    with contextlib.suppress(WorkerError):
        for page in paginate(fetch, Collection(URL, {}, style=style)):
            assert page.rows
    asked = [request.url for request in adapter.requests]
    assert all(url.startswith("https://api.test") for url in asked)
    assert len(asked) == len(set(asked))
