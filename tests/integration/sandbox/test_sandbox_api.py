"""The XML API: shapes, challenges, scopes, limits."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ET

import pytest

REL = "http://schemas.arlo.co/api/2012/02/auth"


def links(element):
    return {link.get("rel"): link.get("href") for link in element.findall("Link")}


def test_root_links_to_all_collections(client, access):
    """The entry document names the collections."""
    root = ET.fromstring(client.get("", access).content)
    titles = {link.get("title") for link in root.findall("Link")} - {None}
    assert titles == {"Events", "Registrations", "Contacts", "Orders", "ContactMergeRequests"}


def test_collection_holds_links_only(client, access):
    """A hundred links, one to the next page, one to itself."""
    page = ET.fromstring(client.get("events/", access).content)
    rels = [link.get("rel") for link in page.findall("Link")]
    assert (page.tag, rels.count(f"{REL}/Event"), rels.count("next"), rels.count("self")) == ("Events", 100, 1, 1)
    assert page.find("Link/Event") is None


def test_next_leads_through_all_rows_once(client, access, ids):
    """Following `next` with a filter, order and expansion reaches every row once, and the last page has none."""
    path, seen = "contacts/?top=70&expand=Contact&orderby=LastName DESC&filter=ContactID gt 600", []
    while path:
        page = client.get(path, access)
        seen += ids(page.text, "ContactID")
        following = links(ET.fromstring(page.content)).get("next")
        path = following.removeprefix(client.sandbox.api_base) if following else None
    assert sorted(seen) == list(range(601, 812))


def test_expansion_nests_inside_the_link(client, access):
    """`expand=Registration,Registration/Contact` puts the contact inside the link inside the registration."""
    page = ET.fromstring(client.get("registrations/?top=3&expand=Registration,Registration/Contact", access).content)
    nested = page.findall("Link/Registration/Link/Contact/ContactID")
    assert len(nested) == 3


def test_expansion_needs_each_prefix(client, access):
    """A path whose prefix is not listed expands nothing."""
    page = client.get("registrations/?expand=Registration/Contact", access)
    assert (page.status_code, "<Registration>" in page.text, "<Contact>" in page.text) == (200, False, False)


def test_single_resource_has_the_documented_elements(client, access):
    """An event with its elements in order, a link to itself and one to its registrations."""
    event = ET.fromstring(client.get("events/41/", access).content)
    assert [child.tag for child in event][:4] == ["EventID", "UniqueIdentifier", "Code", "Name"]
    assert links(event)["self"] == f"{client.sandbox.api_base}events/41/"
    assert links(event)[f"{REL}/related/Registrations"].endswith("events/41/registrations/")


def test_order_expands_its_contact_and_lines(client, access):
    """The links of one resource expand by their titles, a collection inside them too."""
    order = ET.fromstring(client.get("orders/91/?expand=BillToContact,Lines,Lines/OrderLine", access).content)
    assert order.find("Link/Contact/ContactID") is not None
    for line in order.findall("Link/OrderLines/Link/OrderLine"):
        assert links(line)["self"].startswith(f"{client.sandbox.api_base}orders/91/lines/")


def test_sub_collection_holds_what_belongs_to_its_resource(client, access):
    """events/N/registrations/ lists the registrations of that event, each of which says so."""
    page = ET.fromstring(client.get("events/50/registrations/?expand=Registration", access).content)
    hrefs = {links(one)[f"{REL}/related/Event"] for one in page.findall("Link/Registration")}
    assert hrefs <= {f"{client.sandbox.api_base}events/50/"}


def test_difficult_text_survives(client, access):
    """Markup characters and letters of several scripts arrive as they are in the data."""
    page = ET.fromstring(client.get("events/?top=250&expand=Event", access).content)
    shown = {one.findtext("EventID"): one.findtext("Name") for one in page.findall("Link/Event")}
    truth = {row["EventID"]: row["Name"] for row in client.sandbox.rows("events")}
    assert shown.items() <= truth.items()
    assert "Führung <kompakt>" in shown.values()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("events/999999/", 404),
        ("events/abc/", 404),
        ("nonsense/", 404),
        ("events/?top=251", 400),
        ("events/?top=0", 400),
        ("events/?skip=-1", 400),
        ("events/?colour=red", 400),
        ("events/?expand=Nonsense", 400),
        ("events/?orderby=Nonsense", 400),
        ("forbidden/", 403),
    ],
)
def test_faulty_request_gets_an_exception_document(client, access, path, status):
    """ApiException with code and message; a plain 403 carries no challenge."""
    answer = client.get(path, access)
    document = ET.fromstring(answer.content)
    assert (answer.status_code, document.tag) == (status, "ApiException")
    assert document.findtext("Message")
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/xml", 200), ("text/html, */*;q=0.1", 200), ("application/json", 406), ("*/*;q=0", 406)],
)
def test_accept_decides(client, access, accept, status):
    """Only XML is spoken."""
    assert client.get("events/", access, Accept=accept).status_code == status


def test_unknown_token_gets_the_documented_challenge(client):
    """401, scheme Basic, error_message for the description, no body."""
    answer = client.get("events/", "nonsense")
    expected = 'Basic realm="demo", error="invalid_token", error_message="The access token is invalid"'
    assert (answer.status_code, answer.headers["WWW-Authenticate"], answer.content) == (401, expected, b"")


def test_missing_token_gets_a_challenge_without_a_reason(client):
    """A request without a token is told the realm alone."""
    assert client.get("events/").headers["WWW-Authenticate"] == 'Basic realm="demo"'


def test_expired_token_is_called_by_both_codes(client, access):
    """The provider says expired_token or invalid_token for the same thing."""
    client.sandbox.expire("alice")
    fields = [client.get("events/", access).headers["WWW-Authenticate"] for _ in range(2)]
    assert ["expired_token" in field for field in fields] == [True, False]


def test_rejection_can_be_a_403(make):
    """With use_403 a rejected token is answered 403, with the same challenge."""
    answer = make(use_403=True).get("events/", "nonsense")
    assert answer.status_code == 403
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("scopes", "path", "missing"),
    [
        (["read", "events"], "registrations/", 'scopes="registrations"'),
        (["read", "events"], "orders/", 'scopes="all_claims"'),
        (["events"], "events/", 'scopes="read"'),
    ],
)
def test_missing_scope_is_named(client, scopes, path, missing):
    """403 insufficient_scope with the scopes that would help."""
    answer = client.get(path, client.sandbox.grant("bo", scopes)["access_token"])
    assert answer.status_code == 403
    assert answer.headers["WWW-Authenticate"].endswith(missing)
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_collection_can_demand_another_scope(client, access):
    """A drill takes a scope away from everybody who has consented before."""
    token = client.sandbox.grant("bo", ["read", "all_claims"])["access_token"]
    client.sandbox.set(required_scopes={"orders": "metadata"})
    assert 'scopes="metadata"' in client.get("orders/", token).headers["WWW-Authenticate"]
    assert client.get("events/", token).status_code == 200


def test_rate_limit_answers_json(make):
    """429 with Retry-After and the documented JSON body; afterwards requests pass again."""
    client = make(rate_limit=3)
    token = client.sandbox.grant("bo")["access_token"]
    assert [client.get("events/", token).status_code for _ in range(3)] == [200] * 3
    answer = client.get("events/", token)
    body = answer.json()
    assert (answer.status_code, body["error"]) == (429, "rate_limit_exceeded")
    assert int(answer.headers["Retry-After"]) == body["retryAfter"] <= 60
    client.sandbox.advance(body["retryAfter"])
    assert client.get("events/", token).status_code == 200


def test_answers_can_be_compressed(make):
    """Gzip for those who accept it, when it is on."""
    client = make(gzip=True)
    token = client.sandbox.grant("bo")["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"}
    with client.http.get(client.sandbox.api_base + "events/", headers=headers, stream=True) as answer:
        assert gzip.decompress(answer.raw.read(decode_content=False)).startswith(b"<?xml")


def test_api_is_read_only(client, access):
    """Everything but GET and HEAD is 405."""
    headers = {"Authorization": f"Bearer {access}"}
    answer = client.http.post(client.sandbox.api_base + "events/", headers=headers)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
