from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import Misconfigured, TryAgainLater, WorkerError
from worker.jobs.loading import load_jobs
from worker.testing import Answer, run_job

BASE = "https://acme.arlo.test/api/2012-02-01/auth/resources/"


@pytest.fixture
def jobs(tmp_path):
    """The jobs, loaded as the daemon loads them."""
    copy = tmp_path / "arlo.py"
    copy.write_bytes((Path(__file__).parents[3] / "jobs" / "arlo.py").read_bytes())
    copy.chmod(0o644)
    tmp_path.chmod(0o755)
    return load_jobs([tmp_path])


@pytest.fixture
def events(jobs):
    """The simplest of them."""
    return jobs.get("arlo.events").function


def _document(*rows):
    links = "".join(
        f'<Link rel="x" title="Event" href="{BASE}events/{number}/"><Event><EventID>{number}</EventID>{fields}'
        f"<LastModifiedDateTime>{modified}</LastModifiedDateTime>"
        f'<Link rel="self" href="{BASE}events/{number}/"/></Event></Link>'
        for number, modified, fields in rows
    )
    return f'<Events>{links}<Link rel="self" href="{BASE}events/"/></Events>'


def test_arlo_filter_has_three_digits_where_the_cursor_has_seven(events):
    """The millisecond of the place, never past it, and the rows up to the place are passed over."""
    answer = _document(
        (7, "2026-01-09T20:15:00.1234567Z", ""), (8, "2026-01-09T20:15:00.1234567Z", ""),
        (3, "2026-01-09T20:15:00.1234568Z", ""),
    )  # fmt: skip
    cursor = {"modified": "2026-01-09T20:15:00.1234567Z", "id": 7}
    result = run_job(events, responses=[answer], cursor=cursor, api_base=BASE)
    assert "filter=LastModifiedDateTime+ge+datetime%28%272026-01-09T20%3A15%3A00.123Z%27%29" in result.urls[0]
    assert [row["EventID"] for row in result.rows["events"]] == [8, 3]
    assert result.cursor == {"modified": "2026-01-09T20:15:00.1234568Z", "id": 3}


def test_arlo_row_has_utc_times_offsets_numbers_and_nulls(events):
    """One row, whole."""
    fields = (
        "<StartDateTime>2026-03-02T09:00:00.000+13:00</StartDateTime><Code>0070</Code><Description/>"
        '<Link rel="r" title="EventTemplate" href="/eventtemplates/12/"/>'
        '<Link rel="r" title="Registrations" href="/events/41/registrations/"/>'
    )
    result = run_job(events, responses=[_document((41, "2026-01-09T20:15:00Z", fields))], api_base=BASE)
    assert result.rows["events"] == [
        {
            "EventID": 41,
            "StartDateTime": "2026-03-01T20:00:00.0000000Z",
            "StartDateTimeOffset": "+13:00",
            "Code": "0070",
            "Description": None,
            "EventTemplateID": 12,
            "LastModifiedDateTime": "2026-01-09T20:15:00.0000000Z",
        }
    ]


@pytest.mark.parametrize(
    ("answer", "error", "what"),
    [
        (Answer(400, xml="<ApiException><Code>BadFilter</Code><Message>No.</Message></ApiException>"),
         WorkerError, "answered 400 Bad Request: BadFilter: No."),
        ("<ApiException><Code>X</Code><Message>Y</Message></ApiException>", WorkerError, "ApiException: X: Y"),
        (Answer(429, json={"message": "Slow down", "retryAfter": 60}, headers={"Retry-After": "60"}),
         TryAgainLater, "Slow down"),
        (Answer(text="<html>log in</html>"), WorkerError, "text/plain; charset=utf-8 instead of XML"),
        ("<Events><Link", WorkerError, "broken XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><Events/>', WorkerError, "document type declaration"),
        ('<Events><Link title="Event" href="/events/41/"/></Events>', WorkerError, "not expanded"),
        (_document((41, "yesterday", "")), WorkerError, "Event 41 has no"),
    ],
)  # fmt: skip
def test_arlo_answer_that_is_no_page_is_a_clear_error(events, answer, error, what):
    """Nothing is taken for an empty page."""
    with pytest.raises(error, match=what):
        run_job(events, responses=[answer], api_base=BASE)


def test_arlo_clocks_that_are_unrelated_do_not_hold_the_place_back(events):
    """Rows a year ahead of the server's Date would otherwise come again in every run."""
    answer = Answer(xml=_document((41, "2027-01-09T20:15:00Z", "")), headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})
    result = run_job(events, responses=[answer], api_base=BASE)
    assert result.cursor["modified"] == "2027-01-09T20:15:00.0000000Z"


ORDER = (
    f'<Orders><Link title="Order" href="{BASE}orders/90/"><Order><OrderID>90</OrderID><Total>230.00</Total>'
    "<LineAmountsTaxInclusive>false</LineAmountsTaxInclusive><SubTotal>n/a</SubTotal>"
    "<LastModifiedDateTime>2026-01-09T20:15:00Z</LastModifiedDateTime>"
    f'<Link title="BillToContact" href="{BASE}contacts/512/"/><Link title="Lines" href="{BASE}orders/90/lines/"/>'
    "</Order></Link></Orders>"
)
LINES = (
    f'<OrderLines><Link title="OrderLine" href="{BASE}orders/90/lines/1/"><OrderLine><OrderLineID>1</OrderLineID>'
    "<LineNumber>1</LineNumber><UnitAmount>0.1230</UnitAmount><Quantity>2</Quantity></OrderLine></Link></OrderLines>"
)
NO_MERGES = "<ContactMergeRequests/>"


def test_arlo_page_that_is_too_large_is_asked_for_in_a_smaller_one(jobs):
    """Orders of very many lines: half as many at once. Lines that were not expanded are asked for."""
    huge = f"<Orders>{' ' * (9 << 20)}</Orders>"
    answers = [Answer(xml=one) for one in (NO_MERGES, huge, ORDER, LINES, NO_MERGES)]
    result = run_job(jobs.get("arlo.orders").function, responses=answers, api_base=BASE)
    assert ["top=250" in result.urls[1], "top=125" in result.urls[2]] == [True, True]
    assert result.urls[3].startswith(f"{BASE}orders/90/lines/?expand=OrderLine")
    [line] = result.rows["orderlines"]
    assert (line["OrderID"], line["LineNumber"], line["UnitAmount"]) == (90, 1, "0.1230")


def test_arlo_order_has_flags_and_amounts_and_keeps_what_is_neither(jobs):
    """What cannot be read as the kind that its name stands for stays as it came."""
    answers = [Answer(xml=one) for one in (NO_MERGES, ORDER, LINES, NO_MERGES)]
    result = run_job(jobs.get("arlo.orders").function, responses=answers, api_base=BASE)
    assert result.rows["orders"] == [
        {
            "OrderID": 90,
            "Total": "230.00",
            "LineAmountsTaxInclusive": False,
            "SubTotal": "n/a",
            "LastModifiedDateTime": "2026-01-09T20:15:00.0000000Z",
            "BillToContactID": 512,
        }
    ]


def test_arlo_merge_request_without_its_contacts_is_told(jobs):
    """Nothing is retired on a guess."""
    inside = "<ContactMergeRequest><RequestID>a</RequestID></ContactMergeRequest>"
    request = f'<ContactMergeRequests><Link title="ContactMergeRequest">{inside}</Link></ContactMergeRequests>'
    answers = [Answer(xml="<Contacts/>"), Answer(xml=request)]
    with pytest.raises(WorkerError, match="merge request a does not name its contacts"):
        run_job(jobs.get("arlo.contacts").function, responses=answers, api_base=BASE)


def test_arlo_backfill_asks_for_its_time_alone(jobs):
    """Both bounds stand in the filter, and merges are left to the live runs."""
    run = run_job(
        jobs.get("arlo.registrations").function,
        responses=[Answer(xml="<Registrations/>")],
        backfill=("2025-01-01", "2025-02-01"),
        api_base=BASE,
    )
    [url] = run.urls
    assert (
        "ge+datetime%28%272025-01-01T00%3A00%3A00.000Z%27%29+and+LastModifiedDateTime+lt+datetime%28%272025-02-01"
        in url
    )


def _lines(*numbers, more=False):
    links = "".join(
        f'<Link rel="x" title="OrderLine" href="{BASE}orders/90/lines/{number}/"><OrderLine>'
        f"<OrderLineID>{number}</OrderLineID></OrderLine></Link>"
        for number in numbers
    )
    following = f'<Link rel="next" href="{BASE}orders/90/lines/?skip=2"/>' if more else ""
    return f"<OrderLines>{links}{following}</OrderLines>"


def test_arlo_lines_nested_in_another_order_than_their_pages_are_all_there(jobs):
    """Lines 3 and 2 came nested; a page that begins behind two of them, by id, would not have line 1."""
    order = (
        f'<Orders><Link rel="x" title="Order" href="{BASE}orders/90/"><Order><OrderID>90</OrderID>'
        "<LastModifiedDateTime>2026-01-09T20:15:00Z</LastModifiedDateTime>"
        f'<Link rel="r" title="Lines" href="{BASE}orders/90/lines/">{_lines(3, 2, more=True)}</Link>'
        "</Order></Link></Orders>"
    )
    merges = "<ContactMergeRequests/>"
    answers = [Answer(xml=answer) for answer in (merges, order, _lines(1, 2, 3), merges)]
    result = run_job(jobs.get("arlo.orders").function, responses=answers, api_base=BASE)
    assert sorted(line["OrderLineID"] for line in result.rows["orderlines"]) == [1, 2, 3]
    assert not [url for url in result.urls if "/lines/" in url and "skip" in url]


@pytest.mark.parametrize(
    ("job", "params", "what"),
    [
        ("deletions", {"tables": ["registration"]}, r"params\.tables: there is no 'registration'; did you mean 'regis"),
        ("deletions", {"tables": []}, "write a list of some of: events, registrations"),
        ("deletions", {"tables": "orders"}, "write a list of some of: events, registrations"),
        ("deletions", {"tabels": ["orders"]}, r"params\.tabels is unknown; did you mean 'tables'"),
        ("events", {"tables": ["events"]}, r"params\.tables is unknown; there are top, settle"),
        ("events", {"top": 0}, "a number of at least 1"),
        ("contacts", {"settle": "2s"}, "a number of at least 0"),
    ],
)
def test_arlo_params_that_nobody_would_read_are_refused(jobs, job, params, what):
    """Before anything is asked for: a table that is misspelt would never be listed, and every run be green."""
    with pytest.raises(Misconfigured, match=what):
        run_job(jobs.get(f"arlo.{job}").function, responses=[], params=params, api_base=BASE)
