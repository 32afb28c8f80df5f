"""Data that changes: merges, parts and their wholes, changes that show late, and changes while it is read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from worker.sandbox import BadControl, Sandbox, SandboxConfig


def by_key(sandbox, collection, key):
    return {int(row[key]): row for row in sandbox.rows(collection)}


def test_merged_contact_answers_308_to_the_one_it_became(client, access):
    """Location, and the same path below it; one merge at a time."""
    for source, destination in ((512, 513), (513, 514)):
        client.sandbox.merge(source, destination)
    answers = [client.get(path, access) for path in ("contacts/512/", "contacts/513/registrations/")]
    base = client.sandbox.api_base
    assert [(one.status_code, one.headers["Location"]) for one in answers] == [
        (308, f"{base}contacts/513/"),
        (308, f"{base}contacts/514/registrations/"),
    ]
    assert client.get("contacts/514/", access).status_code == 200


def test_merge_is_requested_and_moves_what_belongs_to_the_contact(client, access):
    """The request names both; the source is in no list any more."""
    sandbox = client.sandbox
    before = {
        key for key, row in by_key(sandbox, "registrations", "RegistrationID").items() if row["Contact/ID"] == "512"
    }
    sandbox.merge(512, 513)
    page = ET.fromstring(client.get("contactmergerequests/?expand=ContactMergeRequest", access).content)
    request = page.find("Link/ContactMergeRequest")
    assert request.findtext("SourceContactInfo/ContactID") == "512"
    assert request.findtext("DestinationContactInfo/ContactID") == "513"
    assert re.fullmatch(r"\S+\.\d{3}\+13:00", request.findtext("CreatedDateTime"))
    after = by_key(sandbox, "registrations", "RegistrationID")
    assert {after[key]["Contact/ID"] for key in before} <= {"513"}
    assert 512 not in by_key(sandbox, "contacts", "ContactID")


@pytest.mark.parametrize("renew", [False, True])
def test_merge_counts_as_a_change_of_what_it_moves_only_if_asked(client, renew):
    """The provider does not say which; a sync has to bear both."""
    sandbox = client.sandbox
    before = by_key(sandbox, "orders", "OrderID")
    number, order = next(iter(before.items()))
    source = int(order["BillToContact/ID"])
    sandbox.merge(source, 512 if source != 512 else 513, renew=renew)
    after = by_key(sandbox, "orders", "OrderID")[number]
    assert (after["LastModifiedDateTime"] != order["LastModifiedDateTime"]) is renew


def test_merge_requests_are_filtered_by_their_creation(client, access):
    """`datetimeoffset`, since they carry one; a GUID finds one of them."""
    client.sandbox.merge()
    path = "contactmergerequests/?expand=ContactMergeRequest&orderby=CreatedDateTime ASC,RequestID ASC"
    everything = client.get(f"{path}&filter=CreatedDateTime ge datetimeoffset('2026-01-01T00:00:00.000Z')", access)
    later = client.get(f"{path}&filter=CreatedDateTime gt datetimeoffset('2099-01-01T00:00:00.000Z')", access)
    identity = re.search("<RequestID>([^<]+)", everything.text)[1]
    assert "<RequestID>" not in later.text
    assert client.get(f"contactmergerequests/{identity}/", access).status_code == 200


def test_line_is_a_part_of_its_order(client, access):
    """A change, a new line and a deletion are changes of the order; a deleted order takes its lines along."""
    sandbox, moments = client.sandbox, []
    line = sandbox.insert("orderlines", 1, owner=91)[0]
    for change in ("touch", "insert", "delete"):
        moments.append(by_key(sandbox, "orders", "OrderID")[91]["LastModifiedDateTime"])
        sandbox.call(change, collection="orderlines", **({"owner": 91} if change == "insert" else {"numbers": [line]}))
    moments.append(by_key(sandbox, "orders", "OrderID")[91]["LastModifiedDateTime"])
    sandbox.delete("orders", numbers=[91])
    assert len(set(moments)) == 4
    assert "91" not in {row["Order/ID"] for row in sandbox.rows("orderlines")}


def test_nested_collection_is_paged(client, access):
    """A hundred of an order's lines come with it, and a link to the others."""
    client.sandbox.insert("orderlines", 110, owner=91)
    order = ET.fromstring(client.get("orders/91/?expand=Lines,Lines/OrderLine", access).content)
    lines = order.find("Link[@title='Lines']/OrderLines")
    following = next(link.get("href") for link in lines if link.get("rel") == "next")
    rest = ET.fromstring(client.get(following.removeprefix(client.sandbox.api_base), access).content)
    assert (len(lines.findall("Link/OrderLine")), len(rest.findall("Link[@title='OrderLine']")) >= 10) == (100, True)


def test_late_change_shows_later_than_its_moment(client, access):
    """As one does whose transaction takes its time: the moment is that of the change."""
    sandbox = client.sandbox
    sandbox.touch("events", numbers=[41], late=30)
    new = sandbox.insert("events", 1, late=30)[0]
    assert "Revision 1" not in client.get("events/41/", access).text
    sandbox.touch("events", numbers=[42])
    sandbox.advance(31)
    rows = by_key(sandbox, "events", "EventID")
    assert rows[41]["LastModifiedDateTime"] < rows[42]["LastModifiedDateTime"]
    assert (rows[41]["Description"], new in rows) == ("Revision 1", True)


def test_late_change_does_not_take_a_newer_one_back(client):
    """Whoever came later had to wait for the lock."""
    client.sandbox.touch("events", numbers=[41], late=30)
    client.sandbox.touch("events", numbers=[41])
    moment = by_key(client.sandbox, "events", "EventID")[41]["LastModifiedDateTime"]
    client.sandbox.advance(31)
    assert by_key(client.sandbox, "events", "EventID")[41]["LastModifiedDateTime"] == moment


def test_churn_is_the_same_for_the_same_seed(make):
    """What happens between two answers is drawn by the seed: the same clients meet the same changes."""
    held = []
    for _ in range(2):
        client = make(rows=60, churn=0.9, rate_limit=0, seed=3)
        token = client.sandbox.grant("bo")["access_token"]
        for _ in range(25):
            client.get("events/?top=1", token)
        client.sandbox.set(churn=0)
        client.sandbox.advance(10)
        held.append({name: sorted(by_key(client.sandbox, name, key)) for name, key in KEYS.items()})
    untouched = Sandbox(SandboxConfig(rows=60, seed=3))
    assert held[0] == held[1] != {name: sorted(by_key(untouched, name, key)) for name, key in KEYS.items()}
    untouched.stop()


KEYS = {"events": "EventID", "contacts": "ContactID", "orders": "OrderID", "orderlines": "OrderLineID"}


def test_large_data_set_is_made_as_far_as_it_is_asked_for():
    """Its figures are known before a row of it is made."""
    sandbox = Sandbox(SandboxConfig(rows=50_000))
    try:
        assert sandbox.stats()["rows"]["registrations"] == 50_000
        assert sandbox.stats()["rows"]["orderlines"] == 100_000
        assert not sandbox._state.dataset.tables._made
    finally:
        sandbox.stop()


@pytest.mark.parametrize(
    ("operation", "arguments", "message"),
    [
        ("merge", {"source": 512}, "two different contacts"),
        ("merge", {"source": 512, "destination": 512}, "two different contacts"),
        ("merge", {"source": 512, "destination": 1}, "contacts has no number 1"),
        ("touch", {"collection": "events", "late": -1}, "late: -1"),
        ("insert", {"collection": "events", "owner": 41}, "events are parts of nothing"),
        ("insert", {"collection": "orderlines", "owner": 1}, "orders has no number 1"),
        ("delete", {"collection": "contactmergerequests"}, "come from merge"),
    ],
)
def test_senseless_change_is_refused_with_a_reason(client, operation, arguments, message):
    """The message says what was wrong; nothing changes."""
    with pytest.raises(BadControl, match=message):
        client.sandbox.call(operation, **arguments)
