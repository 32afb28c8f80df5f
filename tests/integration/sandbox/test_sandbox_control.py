"""The control operations, in the same process and over HTTP."""

from __future__ import annotations

import pytest

from worker.sandbox import BadControl, SandboxConfig, SandboxControl


@pytest.fixture
def remote(client):
    """Control over HTTP."""
    return SandboxControl(client.sandbox.base_url, client.sandbox.control_token)


def test_control_needs_its_token(client):
    """Neither a missing nor a wrong token drives anything, so that a web page cannot."""
    url = f"{client.sandbox.base_url}/_control/stats"
    assert client.http.post(url).status_code == 401
    assert client.http.get(url, headers={"Authorization": "Bearer wrong"}).status_code == 401
    with pytest.raises(BadControl, match="control token"):
        SandboxControl(client.sandbox.base_url, "wrong").stats()


def test_control_changes_nothing_by_get(client):
    """GET reads statistics, settings and rows."""
    headers = {"Authorization": f"Bearer {client.sandbox.control_token}"}
    base = f"{client.sandbox.base_url}/_control"
    assert client.http.get(f"{base}/rows?collection=events", headers=headers).status_code == 200
    assert client.http.get(f"{base}/revoke?user=alice", headers=headers).status_code == 400


def test_both_ways_give_the_same(client, remote):
    """A method of the object and a request to it are the same operation."""
    client.enrol()
    assert remote.stats() == client.sandbox.stats()
    assert remote.rows("contacts") == client.sandbox.rows("contacts")
    assert remote.set(access_ttl=5) == client.sandbox.settings() | {"redirect_uris": remote.settings()["redirect_uris"]}


def test_statistics_tell_the_story(client, remote):
    """Token calls by grant type and outcome, refreshes by user, API answers by status."""
    tokens = client.enrol("alice")
    client.refresh(tokens["refresh_token"])
    client.refresh(tokens["refresh_token"])
    client.get("events/", "nonsense")
    stats = remote.stats()
    assert stats["token_calls"] == {
        "authorization_code": {"granted": 1},
        "refresh_token": {"granted": 1, "invalid_grant": 1},
    }
    assert (stats["refreshes"], stats["api_requests"]) == ({"alice": 1}, {"401": 1})
    assert (stats["reuse_detected"], stats["active_grants"], stats["ended_grants"]) == (1, 0, {"reuse": 1})


def test_statistics_start_again(client, remote):
    """reset_stats forgets counters and keeps grants."""
    client.enrol()
    remote.reset_stats()
    stats = remote.stats()
    assert (stats["token_calls_total"], stats["active_grants"]) == (0, 1)


def test_revoked_user_is_refused_everywhere(client, remote):
    """Refresh gives invalid_grant, the API invalid_token; others are untouched."""
    tokens, other = client.enrol("alice"), client.enrol("bob")
    assert remote.revoke("alice") == 1
    assert client.refresh(tokens["refresh_token"]).json() == {"error": "invalid_grant"}
    assert "invalid_token" in client.get("events/", tokens["access_token"]).headers["WWW-Authenticate"]
    assert client.get("events/", other["access_token"]).status_code == 200


def test_expired_access_tokens_can_be_refreshed(client, remote):
    """Expire kills access tokens of one user or of all; grants stay good."""
    tokens, other = client.enrol("alice"), client.enrol("bob")
    assert remote.expire("alice") == 1
    assert client.get("events/", tokens["access_token"]).status_code == 401
    assert client.get("events/", other["access_token"]).status_code == 200
    assert remote.expire() == 1
    assert client.refresh(tokens["refresh_token"]).status_code == 200


def test_touched_rows_move_to_the_end(client, remote):
    """A touched row gets a later time than every other, and another content."""
    before = {row["EventID"]: row for row in remote.rows("events")}
    numbers = remote.touch("events", 3)
    after = {row["EventID"]: row for row in remote.rows("events")}
    latest = max(row["LastModifiedDateTime"] for row in before.values())
    assert {name for name, row in after.items() if row != before[name]} == {str(number) for number in numbers}
    assert all(after[str(number)]["LastModifiedDateTime"] > latest for number in numbers)


def test_rows_can_be_touched_at_one_moment(remote):
    """Equal gives more rows than a page holds the same time."""
    numbers = {str(number) for number in remote.touch("contacts", 120, equal=True)}
    times = {row["LastModifiedDateTime"] for row in remote.rows("contacts") if row["ContactID"] in numbers}
    assert (len(numbers), len(times)) == (120, 1)


def test_change_is_seen_by_the_api(client, remote, access):
    """What was kept for speed does not outlive a change."""
    assert "Revision 1" not in client.get("events/41/", access).text
    remote.touch("events", numbers=[41])
    assert "Revision 1" in client.get("events/41/", access).text
    remote.delete("events", numbers=[41])
    assert client.get("events/41/", access).status_code == 404
    assert "/events/41/" not in client.get("events/", access).text


def test_deleted_numbers_do_not_come_back(remote):
    """A new row gets a number that nobody had."""
    first = remote.insert("orders", 1)
    remote.delete("orders", numbers=first)
    assert remote.insert("orders", 1) == [first[0] + 1]


@pytest.mark.parametrize(
    ("operation", "arguments", "message"),
    [
        ("nonsense", {}, "unknown operation"),
        ("revoke", {}, "missing a required argument: 'user'"),
        ("revoke", {"user": "a", "colour": "red"}, "unexpected keyword argument 'colour'"),
        ("set", {"acess_ttl": 1}, "unknown setting acess_ttl"),
        ("set", {"access_ttl": "1"}, "access_ttl: '1' is no number"),
        ("set", {"kill_on_reuse": 1}, "kill_on_reuse: 1 is no true or false"),
        ("set", {"callback_iss": "left"}, "none of right, absent, wrong"),
        ("fault", {"where": "token", "kind": "flood"}, "'flood' is none of"),
        ("fault", {"where": "api", "kind": "invalid_client"}, "at 'api'"),
        ("fault", {"where": "moon", "kind": "html"}, "none of token, api"),
        ("fault", {"where": "api", "kind": "html", "times": 0}, "times: 0"),
        ("fault", {"where": "api", "kind": "html", "colour": 1}, "unknown option colour"),
        ("touch", {"collection": "moons"}, "unknown collection 'moons'"),
        ("delete", {"collection": "events", "numbers": [1]}, "events has no number 1"),
        ("insert", {"collection": "events", "count": -1}, "count: -1"),
        ("grant", {"user": "a", "scopes": ["fly"]}, "unknown scope fly"),
    ],
)
def test_senseless_control_is_refused_with_a_reason(remote, operation, arguments, message):
    """The message says what was wrong; nothing changes."""
    with pytest.raises(BadControl, match=message):
        remote.call(operation, **arguments)


def test_secrets_stay_out_of_what_is_shown(client, remote):
    """Neither settings nor representations hold the client secret or the control token."""
    shown = f"{remote.settings()} {client.sandbox.config!r} {remote!r} {SandboxConfig(client_secret='hidden')!r}"
    assert "sandbox-secret" not in shown
    assert "hidden" not in shown
    assert client.sandbox.control_token not in shown


def test_date_header_can_be_wrong(client, remote):
    """date_skew moves the Date header and nothing else."""
    remote.set(date_skew=-86400 * 365 * 10)
    year = client.http.get(f"{client.sandbox.issuer}/.well-known/jwks").headers["Date"].split()[3]
    assert int(year) < 2020
