"""The filter language, sorting, and the data's traps."""

from __future__ import annotations

import re

import pytest

from worker.sandbox import Sandbox

TIME = re.compile("<LastModifiedDateTime>([^<]+)</LastModifiedDateTime>")


def cut(moment):
    """A time as a filter takes it: three fraction digits."""
    whole, _, fraction = moment.rstrip("Z").partition(".")
    return f"{whole}.{fraction[:3]:0<3}Z"


def query(client, access, collection, **parameters):
    name = {"events": "Event", "registrations": "Registration", "contacts": "Contact", "orders": "Order"}[collection]
    path = f"{client.sandbox.api_base}{collection}/"
    headers = {"Authorization": f"Bearer {access}"}
    return client.http.get(path, params={"expand": name, "top": 250, **parameters}, headers=headers)


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("Status eq 'Active'", lambda row: row["Status"] == "Active"),
        ("Status ne 'Active'", lambda row: row["Status"] != "Active"),
        ("EventID lt 60", lambda row: int(row["EventID"]) < 60),
        ("EventID ge 60 and EventID le 70", lambda row: 60 <= int(row["EventID"]) <= 70),
        ("EventID eq 41 OR EventID eq 43", lambda row: row["EventID"] in {"41", "43"}),
        (
            "EventID lt 45 OR EventID gt 330 AND Status eq 'Active'",
            lambda row: int(row["EventID"]) < 45 or (int(row["EventID"]) > 330 and row["Status"] == "Active"),
        ),
        (
            "(EventID lt 45 OR EventID gt 330) AND Status eq 'Active'",
            lambda row: (int(row["EventID"]) < 45 or int(row["EventID"]) > 330) and row["Status"] == "Active",
        ),
        (
            "LastModifiedDateTime lt datetime('2025-06-01T00:00:00Z')",
            lambda row: row["LastModifiedDateTime"] < "2025-06-01",
        ),
        (
            "CreatedDateTime gt datetime('2025-06-01T00:00Z') AND EventID lt 100",
            lambda row: row["CreatedDateTime"] > "2025-06-01" and int(row["EventID"]) < 100,
        ),
    ],
)
def test_filter_selects_exactly(client, access, ids, text, test):
    """A filter returns the rows that the data says it must, OR binding less than AND."""
    page = query(client, access, "events", filter=text).text
    expected = [int(row["EventID"]) for row in client.sandbox.rows("events") if test(row)]
    assert ids(page, "EventID") == expected[:250]


@pytest.mark.parametrize(
    "text",
    [
        "LastModifiedDateTime gt datetime('2025-01-01T00:00:00.1234Z')",
        "LastModifiedDateTime gt datetime('2025-01-01T00:00:00+01:00')",
        "LastModifiedDateTime gt datetime('2025-13-01T00:00:00Z')",
        "LastModifiedDateTime gt '2025-01-01'",
        "Nonsense eq 1",
        "EventID eq",
        "EventID like 3",
        "(EventID eq 41",
        "EventID eq 41)",
        "EventID eq 'x'",
        "Status eq 'open",
        "(" * 40 + "EventID eq 41" + ")" * 40,
        "EventID eq 41; drop",
    ],
)
def test_faulty_filter_is_a_bad_request(client, access, text):
    """400 with a message that names what is wrong; four fraction digits are one too many."""
    answer = query(client, access, "events", filter=text)
    assert (answer.status_code, answer.text.count("<ApiException>")) == (400, 1)


def test_quote_in_a_text_is_doubled(client, access, ids):
    """'' stands for one quote."""
    page = query(client, access, "contacts", filter="LastName eq 'O''Neill'").text
    expected = [int(row["ContactID"]) for row in client.sandbox.rows("contacts") if row["LastName"] == "O'Neill"]
    assert ids(page, "ContactID") == expected


def test_filter_follows_links(client, access, ids):
    """A path through a link compares the other resource's field."""
    contact = client.sandbox.touch("contacts", 1)[0]
    moment = next(
        row["LastModifiedDateTime"] for row in client.sandbox.rows("contacts") if row["ContactID"] == str(contact)
    )
    text = f"Contact/LastModifiedDateTime ge datetime('{cut(moment)}')"
    headers = {"Authorization": f"Bearer {access}"}
    own = client.http.get(
        f"{client.sandbox.api_base}contacts/{contact}/registrations/?expand=Registration", headers=headers
    )
    found = query(client, access, "registrations", filter=text)
    assert ids(found.text, "RegistrationID") == ids(own.text, "RegistrationID")


def test_order_is_by_several_fields(client, access):
    """`A ASC,B DESC` sorts by A, and by B backwards where A is equal."""
    page = query(client, access, "events", orderby="Status ASC,EventID DESC").text
    found = re.findall(r"<EventID>(\d+)</EventID>.*?<Status>(\w+)</Status>", page)
    assert found == sorted(found, key=lambda one: (one[1], -int(one[0])))


def test_equal_times_stand_across_page_borders(client, access):
    """In the order of modification, rows 100 and 101 and rows 250 and 251 share one moment."""
    rows = sorted(client.sandbox.rows("registrations"), key=lambda row: row["LastModifiedDateTime"])
    times = [row["LastModifiedDateTime"] for row in rows]
    page = query(client, access, "registrations", orderby="LastModifiedDateTime ASC,RegistrationID ASC").text
    assert TIME.findall(page)[99:101] == [times[99]] * 2
    assert times[249] == times[250]


def test_times_differ_behind_the_third_digit(client):
    """Some rows share a millisecond and nothing finer: what a filter cannot tell apart."""
    times = {row["LastModifiedDateTime"] for row in client.sandbox.rows("events")}
    milliseconds = [cut(moment) for moment in times]
    assert len(set(milliseconds)) < len(times)
    assert max(len(moment.rpartition(".")[2]) for moment in times) == len("1234567Z")


def test_same_seed_same_data():
    """Two sandboxes with the same seed and size hold the same rows; another seed does not."""
    from worker.sandbox import SandboxConfig

    one, two, other = (Sandbox(SandboxConfig(rows=50, seed=seed)) for seed in (7, 7, 8))
    try:
        assert one.rows("orders") == two.rows("orders") != other.rows("orders")
    finally:
        for sandbox in (one, two, other):
            sandbox.stop()


@pytest.mark.parametrize("collection", ["events", "registrations", "contacts", "orders"])
def test_cursor_walk_reaches_every_row(client, access, ids, collection):
    """The documented incremental query (modified, id) arrives at all rows, though its times are cut to three digits."""
    key = {"events": "EventID", "registrations": "RegistrationID", "contacts": "ContactID", "orders": "OrderID"}[
        collection
    ]
    seen, text = set(), ""
    while True:
        parameters = {"orderby": f"LastModifiedDateTime ASC,{key} ASC", "top": 40} | ({"filter": text} if text else {})
        page = query(client, access, collection, **parameters).text
        new = set(ids(page, key)) - seen
        if not new:
            break
        seen |= new
        moment, number = cut(TIME.findall(page)[-1]), ids(page, key)[-1]
        text = (
            f"(CreatedDateTime gt datetime('{moment}') OR LastModifiedDateTime gt datetime('{moment}'))"
            f" OR (LastModifiedDateTime eq datetime('{moment}') AND {key} gt {number})"
        )
    assert len(seen) == 300


def test_modified_is_never_before_created(client):
    """The invariant that queries by a lower bound rely on."""
    client.sandbox.touch("orders", 20)
    client.sandbox.insert("orders", 5)

    def exact(moment):
        whole, _, fraction = moment.rstrip("Z").partition(".")
        return whole, fraction.ljust(7, "0")

    for row in client.sandbox.rows("orders"):
        assert exact(row["LastModifiedDateTime"]) >= exact(row["CreatedDateTime"])
