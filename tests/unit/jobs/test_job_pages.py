from __future__ import annotations

import pytest

from worker.errors import TryAgainLater, WorkerError
from worker.jobs.pages import Collection, paginate
from worker.jobs.paging import Cursor, NextUrl, Offset, PageNumber
from worker.testing.answers import Answer, CannedAdapter, UnexpectedRequest, canned_session

BASE = "https://api.test"


def _pages(responses, path="/items", **how):
    adapter = CannedAdapter(responses, BASE)
    session = canned_session(adapter)
    collection = Collection(f"{BASE}{path}", how.pop("params", {}), **how)
    return paginate(lambda url, params: session.get(url, params=params), collection)


def _ids(pages):
    return [[row["id"] for row in page.rows] for page in pages]


def _rows(*numbers):
    return [{"id": number} for number in numbers]


def test_pages_follow_the_link_header():
    """RFC 8288, found without being told."""
    answers = {
        "/items": [Answer(json=_rows(1, 2), next=f"{BASE}/items?page=2")],
        "/items?page=2": [Answer(json=_rows(3))],
    }
    assert _ids(_pages(answers)) == [[1, 2], [3]]


def test_pages_follow_a_link_with_several_relations():
    """`rel` is a list of tokens."""
    link = {"Link": '</items?page=9>; rel="last NEXT"'}
    assert _ids(_pages([Answer(json=_rows(1), headers=link), _rows(2)], style="link")) == [[1], [2]]


@pytest.mark.parametrize(
    "body",
    [
        {"next": "/items?page=2"},
        {"links": {"next": {"href": f"{BASE}/items?page=2"}}},
        {"@odata.nextLink": "?page=2"},
        {"paging": {"next": {"after": "2"}}},
        {"meta": {"next_cursor": "2"}},
        {"nextPageToken": "2"},
    ],
)
def test_pages_find_the_way_on_in_the_body(body):
    """A URL or a cursor in one of the usual places."""
    assert _ids(_pages([{"data": _rows(1), **body}, {"data": _rows(2), "next": None}])) == [[1], [2]]


def test_pages_keep_the_jobs_parameters_with_a_cursor():
    """The cursor comes on top of them."""
    answers = {
        "/items?since=5": [
            Answer(json={"items": _rows(1), "after": "x"}),
            Answer(json={"items": _rows(2), "after": ""}),
        ],
    }
    style = Cursor("after", parameter="start")
    assert _ids(_pages(answers, params={"since": 5}, style=style)) == [[1], [2]]


def test_pages_send_the_last_rows_id_where_that_is_the_cursor():
    """`starting_after`, with a flag that says whether there is more."""
    answers = {
        "/items?starting_after=2": {"data": _rows(3), "has_more": False},
        "/items": {"data": _rows(1, 2), "has_more": True},
    }
    style = Cursor(last_row="id", parameter="starting_after", more="has_more")
    assert _ids(_pages(answers, style=style)) == [[1, 2], [3]]


def test_pages_by_offset_count_what_came_not_what_was_asked_for():
    """A server that caps the limit at 2 must not cost rows."""
    answers = {
        "/items?offset=0&limit=100": _rows(1, 2),
        "/items?offset=2&limit=100": _rows(3, 4),
        "/items?offset=4&limit=100": _rows(5),
    }
    assert _ids(_pages(answers, style="offset")) == [[1, 2], [3, 4], [5]]


def test_pages_by_offset_end_at_the_total():
    """And ask for no empty page."""
    answers = [{"items": _rows(1, 2), "n": 4}, {"items": _rows(3, 4), "n": 4}]
    assert _ids(_pages(answers, style=Offset(limit=2, total="n"))) == [[1, 2], [3, 4]]


def test_pages_by_offset_go_on_past_a_short_page_when_told():
    """For APIs that drop rows from a page after cutting it."""
    answers = [_rows(1, 2), _rows(3), _rows(4, 5), []]
    assert _ids(_pages(answers, style=Offset(limit=2, short_page_ends=False))) == [[1, 2], [3], [4, 5]]


def test_pages_by_number_end_at_the_number_of_pages():
    """A page beyond the last is an error at some APIs."""
    answers = {
        "/items?page=1": {"items": _rows(1, 2), "pages": 2},
        "/items?page=2": {"items": _rows(3, 4), "pages": 2},
    }
    assert _ids(_pages(answers, style=PageNumber(pages="pages"))) == [[1, 2], [3, 4]]


def test_pages_without_rows_are_passed_over():
    """A cursor may lead through empty pages, and `page.last` needs a row."""
    answers = [{"data": [], "next_cursor": "a"}, {"data": _rows(1), "next_cursor": None}]
    assert _ids(_pages(answers)) == [[1]]


@pytest.mark.parametrize("way", [{"next_cursor": "a"}, {"next": "/items"}])
def test_pages_that_go_in_circles_are_an_error(way):
    """An API that ignores the cursor gives its first page for ever."""
    with pytest.raises(WorkerError, match="goes in circles"):
        list(_pages({"/items": {"data": _rows(1), **way}}))


def test_pages_do_not_follow_to_another_host():
    """The token does not go there, and the rows of a stranger do not come here."""
    with pytest.raises(WorkerError, match=r"https://evil\.test:443, another origin"):
        list(_pages([{"data": _rows(1), "next": "https://evil.test/items"}]))


def test_pages_follow_to_another_origin_of_the_integration():
    """When the config lists it."""
    answers = {"/items": {"data": _rows(1), "next": "https://b.test/items"}, "https://b.test/items": {"data": _rows(2)}}
    assert _ids(_pages(answers, origins=frozenset({"https://b.test:443"}))) == [[1], [2]]


@pytest.mark.parametrize("body", [{"items": _rows(1), "has_more": True}, {"items": _rows(1), "total": 40}])
def test_pages_half_a_collection_is_an_error(body):
    """The answer says there is more, and nothing says how to get it."""
    with pytest.raises(WorkerError, match="there are more rows"):
        list(_pages([body]))


@pytest.mark.parametrize(
    "body",
    [
        {"next": 10},
        {"next": True},
        {"meta": {"next": 10}},
        {"meta": {"next": "abc"}},
        {"meta": {"next_page": 2}},
        {"next_cursor": {"id": 7}},
        {"links": {"next": {"url": "/items?page=2"}}},
    ],
)
def test_pages_that_name_a_next_one_which_cannot_be_followed_are_an_error(body):
    """The first page does not pass for the whole."""
    with pytest.raises(WorkerError, match="says that there are more rows") as caught:
        list(_pages([{"data": _rows(1), **body}]))
    assert "name the way" in caught.value.hint


@pytest.mark.parametrize(
    "body", [{"next": None}, {"next": ""}, {"next": 0}, {"links": {"next": {"href": None}}}, {"meta": {"next": {}}}]
)
def test_pages_end_where_next_names_nothing(body):
    """APIs say it in several ways."""
    assert _ids(_pages([{"data": _rows(1), **body}])) == [[1]]


def test_pages_rows_may_stand_at_a_path():
    """`rows="a.b"`."""
    assert _ids(_pages([{"a": {"b": _rows(1)}}], rows="a.b")) == [[1]]


def test_pages_rows_may_be_read_by_a_function():
    """For XML and the like; the Link header still works."""
    answers = [Answer(xml="<a>1</a>", next=f"{BASE}/items?p=2"), Answer(xml="<a>2</a>")]
    assert _ids(_pages(answers, rows=lambda response: [{"id": response.text[3]}])) == [["1"], ["2"]]


@pytest.mark.parametrize(
    ("answer", "how", "what"),
    [
        ({"a": [1], "b": [2]}, {}, "it has 'a', 'b'"),
        ({"a": 1}, {"rows": "items"}, "holds no 'items'; it has 'a'"),
        ({"items": {"a": 1}}, {"rows": "items"}, "no list but a dict"),
        ([1, 2], {}, "row 0 is no object but a int"),
        ("<html>", {}, "not JSON"),
        (_rows(1), {"style": "sideways"}, "no paging style 'sideways'"),
    ],
)
def test_pages_answer_without_rows_says_what_it_holds(answer, how, what):
    """Instead of syncing nothing, successfully, for months."""
    with pytest.raises(WorkerError, match=what):
        list(_pages([answer], **how))


def test_page_last_reads_nested_fields():
    """For the cursor."""
    page = next(_pages([[{"id": 1, "fields": {"updated": "2026"}}]]))
    assert (page.last("fields.updated"), page.number) == ("2026", 1)


def test_page_last_of_a_field_that_is_not_there_is_an_error():
    """A cursor that stays empty would sync everything again and again."""
    page = next(_pages([[{"id": 1}]]))
    with pytest.raises(WorkerError, match="no 'updated_at'; it has 'id'"):
        page.last("updated_at")


def test_pages_are_asked_for_one_by_one():
    """A job that stops after the first page has asked for one."""
    pages = _pages([Answer(json=_rows(1), next=f"{BASE}/items?page=2")])
    next(pages)
    with pytest.raises(UnexpectedRequest):
        next(pages)


def test_pages_next_url_at_a_path_of_ones_own():
    """The name is the API's."""
    answers = [{"items": _rows(1), "weiter": "/items?x=1"}, {"items": _rows(2)}]
    assert _ids(_pages(answers, style=NextUrl("weiter"))) == [[1], [2]]


def test_pages_pass_on_what_the_request_raises():
    """Whatever ends a request ends the paging."""

    def refuse(url, params):
        raise TryAgainLater

    with pytest.raises(TryAgainLater):
        list(paginate(refuse, Collection(BASE, {})))
