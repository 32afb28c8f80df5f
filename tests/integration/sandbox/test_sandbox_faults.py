"""Planned faults arrive on the wire as planned, and tell apart what took effect from what did not."""

from __future__ import annotations

import threading

import pytest
import requests


@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [
        ("http_500", 500, "application/json"),
        ("http_503", 503, "application/json"),
        ("http_429", 429, "application/json"),
        ("html", 502, "text/html"),
        ("invalid_client", 400, "application/json"),
        ("invalid_grant", 400, "application/json"),
        ("redirect", 307, None),
        ("garbage", 200, "application/json"),
    ],
)
def test_answered_fault_leaves_the_grant_alone(client, kind, status, content_type):
    """The planned answer comes once; the refresh token has not been spent by it."""
    token = client.sandbox.grant("alice")["refresh_token"]
    client.sandbox.fault("token", kind)
    answer = client.refresh(token)
    assert answer.status_code == status
    assert (answer.headers.get("Content-Type") or "").startswith(content_type or "")
    assert client.refresh(token).status_code == 200


def test_reset_before_does_not_spend_the_token(client):
    """A connection reset before the request was looked at: the same refresh token still works."""
    token = client.sandbox.grant("alice")["refresh_token"]
    client.sandbox.fault("token", "reset_before")
    with pytest.raises(requests.ConnectionError):
        client.refresh(token)
    assert client.refresh(token).status_code == 200


@pytest.mark.parametrize("kind", ["reset_after", "half_body"])
def test_lost_answer_has_spent_the_token(client, kind):
    """The rotation is committed and its answer lost: the same refresh token is now a reuse."""
    token = client.sandbox.grant("alice")["refresh_token"]
    client.sandbox.fault("token", kind)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        client.refresh(token)
    assert client.sandbox.stats()["refreshes"] == {"alice": 1}
    assert client.refresh(token).json() == {"error": "invalid_grant"}


@pytest.mark.parametrize(("kind", "refreshes"), [("timeout", {}), ("timeout_after", {"alice": 1})])
def test_silence_before_or_after_the_rotation(client, kind, refreshes):
    """The server says nothing; whether the token is spent depends on the kind."""
    token = client.sandbox.grant("alice")["refresh_token"]
    client.sandbox.fault("token", kind)
    form = {"grant_type": "refresh_token", "refresh_token": token}
    auth = (client.sandbox.client_id, client.sandbox.client_secret)
    with pytest.raises(requests.ReadTimeout):
        client.http.post(client.sandbox.token_url, form, auth=auth, timeout=0.2)
    assert client.sandbox.stats()["refreshes"] == refreshes


def test_silence_can_end_by_itself(client, access):
    """After the given delay the connection is closed without an answer."""
    client.sandbox.fault("api", "timeout", delay=0.1)
    with pytest.raises(requests.ConnectionError):
        client.get("events/", access)


def test_drip_arrives_whole_in_the_end(client):
    """Byte by byte, but complete."""
    token = client.sandbox.grant("alice")["refresh_token"]
    client.sandbox.fault("token", "drip", delay=0.0001)
    assert client.refresh(token).json()["access_token"]


def test_huge_answer_is_as_large_as_planned(client, access):
    """The size is announced and sent."""
    client.sandbox.fault("api", "huge", size=300_000)
    answer = client.get("events/", access)
    assert len(answer.content) == int(answer.headers["Content-Length"]) > 300_000


def test_gzip_bomb_unpacks_to_its_size(client, access):
    """Few bytes on the wire, many in memory."""
    client.sandbox.fault("api", "gzip_bomb", size=1_000_000)
    answer = client.get("events/", access)
    assert int(answer.headers["Content-Length"]) < 5_000
    assert len(answer.content) == 1_000_000


def test_xml_bomb_is_small_on_the_wire(client, access):
    """Entities that would expand to a hundred million copies."""
    client.sandbox.fault("api", "xml_bomb")
    assert len(client.get("events/", access).content) < 2_000


@pytest.mark.parametrize(
    ("kind", "status", "challenge"),
    [
        ("invalid_token", 401, 'error="invalid_token"'),
        ("expired_token", 401, 'error="expired_token"'),
        ("insufficient_scope", 403, 'scopes="all_claims"'),
        ("unauthorized", 401, ""),
        ("forbidden", 403, ""),
    ],
)
def test_api_can_refuse_a_good_token(client, access, kind, status, challenge):
    """A rejection that no refresh mends, with and without a challenge."""
    client.sandbox.fault("api", kind)
    answer = client.get("events/", access)
    assert answer.status_code == status
    assert challenge in answer.headers.get("WWW-Authenticate", "")
    assert client.get("events/", access).status_code == 200


def test_fault_comes_as_often_as_planned(client, access):
    """`times` requests are hit, the next one is not."""
    client.sandbox.fault("api", "http_503", times=2)
    assert [client.get("events/", access).status_code for _ in range(3)] == [503, 503, 200]


def test_endless_fault_ends_when_cleared(client, access):
    """-1 lasts until cleared."""
    client.sandbox.fault("api", "http_500", times=-1)
    assert [client.get("events/", access).status_code for _ in range(3)] == [500] * 3
    assert client.sandbox.clear_faults() == 1
    assert client.get("events/", access).status_code == 200


def test_fault_can_choose_its_victims(client, access):
    """Only one user's requests, or only some paths, or only refreshes."""
    other = client.sandbox.grant("bob")
    client.sandbox.fault("api", "http_500", user="bob")
    client.sandbox.fault("api", "http_503", path="/orders/")
    client.sandbox.fault("token", "http_500", grant_type="refresh_token", user="bob")
    assert client.get("events/", access).status_code == 200
    assert client.get("orders/", access).status_code == 503
    assert client.get("events/", other["access_token"]).status_code == 500
    assert client.redeem(client.callback("bob")["code"]).status_code == 200
    assert client.refresh(other["refresh_token"]).status_code == 500


def test_retry_after_is_sent_as_given(client, access):
    """Seconds and HTTP dates."""
    client.sandbox.fault("api", "http_503", retry_after=7)
    client.sandbox.fault("api", "http_429", retry_after="Wed, 21 Oct 2026 07:28:00 GMT")
    fields = [client.get("events/", access).headers["Retry-After"] for _ in range(2)]
    assert fields == ["7", "Wed, 21 Oct 2026 07:28:00 GMT"]


def test_redirect_counts_what_is_carried_away(client):
    """The other origin records whether credentials came along."""
    token = client.sandbox.grant("alice")["refresh_token"]
    client.sandbox.fault("token", "redirect")
    where = client.refresh(token).headers["Location"]
    assert where.startswith(f"http://localhost:{client.sandbox.base_url.rpartition(':')[2]}/")
    client.http.get(where.replace("localhost", "127.0.0.1"), headers={"Authorization": "Bearer stolen"})
    counted = client.sandbox.stats()["elsewhere"]
    assert counted == {"requests": 1, "with_authorization": 1, "with_body": 0}


def test_concurrent_refreshes_overlap(make):
    """With a delay, calls are in the endpoint together; all but the first are reuse, and the family dies."""
    client = make(token_delay=0.3)
    token = client.sandbox.grant("alice")["refresh_token"]
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(client.refresh(token).status_code)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = client.sandbox.stats()
    assert sorted(statuses) == [200, 400, 400, 400]
    assert stats["peak_concurrent_token_calls"] > 1
    assert (stats["active_grants"], stats["refreshes"]) == (0, {"alice": 1})


def test_stop_ends_hanging_connections(make):
    """A sandbox that hangs on purpose still stops."""
    client = make()
    client.sandbox.fault("api", "timeout")
    ended = threading.Event()

    def ask():
        with pytest.raises(requests.ConnectionError):
            client.get("events/", "x")
        ended.set()

    thread = threading.Thread(target=ask)
    thread.start()
    while not client.sandbox.stats()["faults"]:
        pass
    client.sandbox.stop()
    assert ended.wait(10)
    thread.join()
