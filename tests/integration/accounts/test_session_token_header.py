"""A token in a header of the API's own: bare, on the integration's origins only, and replaced like any other."""

from __future__ import annotations

import pytest
from scripted_server import Answer

from worker.config.model import RefreshRule

TOKENS = Answer(body=b'{"access_token": "access-token-2", "expires_in": 3600, "refresh_token": "refresh-token-2"}')
FIELD = "X-Access-Token"


def sent(server, field=FIELD) -> list[str | None]:
    return [request.headers.get(field.lower()) for request in server.asked]


def to(url: str) -> Answer:
    return Answer(302, b"", [("Location", url)])


def test_token_stands_bare_in_the_header_that_is_set(build, serve):
    """And in no other."""
    api = serve(Answer())
    house = build(None, api)
    house.session(house.admit(), token_header=FIELD).get("things")
    assert (sent(api), sent(api, "Authorization")) == (["access-token-1"], [None])


def test_rejected_token_is_replaced_in_the_header_that_is_set(build, serve):
    """One refresh, one replay."""
    api, token = serve(Answer(401), Answer()), serve(TOKENS)
    house = build(token, api)
    house.session(house.admit(), token_header=FIELD).get("things")
    assert (sent(api), len(token.asked)) == (["access-token-1", "access-token-2"], 1)


def test_redirect_to_another_origin_loses_the_header_that_is_set(build, serve):
    """A client would keep any header but Authorization."""
    elsewhere = serve(Answer())
    api = serve(to(f"{elsewhere.origin}/x"))
    house = build(None, api)
    house.session(house.admit(), token_header=FIELD).get("things")
    assert (sent(api), sent(elsewhere)) == (["access-token-1"], [None])


def test_redirect_elsewhere_and_back_gets_the_token_again(build, serve):
    """Each hop by its own origin."""
    api = serve(Answer())
    elsewhere = serve(to(f"{api.origin}/api/back"))
    api.answers.insert(0, to(f"{elsewhere.origin}/x"))
    house = build(None, api)
    house.session(house.admit(), token_header=FIELD).get("things")
    assert (sent(api), sent(elsewhere)) == (["access-token-1", "access-token-1"], [None])


@pytest.mark.parametrize("field", [FIELD, "Authorization"])
def test_caller_s_own_credentials_are_left_alone(build, serve, field):
    """Ours are not added to them, and they do not follow to another host."""
    elsewhere = serve(Answer())
    api = serve(to(f"{elsewhere.origin}/x"))
    house = build(None, api)
    house.session(house.admit(), token_header=FIELD).get("things", headers={field: "mine"})
    assert (sent(api, field), sent(elsewhere, field)) == (["mine"], [None])
    assert sent(api) == (["mine"] if field == FIELD else [None])


def test_rule_for_an_answer_of_success_rejects_the_token(build, serve):
    """An API that answers 200 whatever happened: what the rule does not name is the caller's."""
    api = serve(
        Answer(body=b'{"ok":false,"error":"token_expired"}'), Answer(body=b'{"ok":false,"error":"missing_scope"}')
    )
    token = serve(TOKENS)
    house = build(token, api)
    house.configure(refresh_when=(RefreshRule(200, "", '"error":"token_expired"'),))
    answer = house.session(house.admit()).get("things").json()
    assert (answer["error"], len(api.asked), len(token.asked)) == ("missing_scope", 2, 1)


def test_token_that_a_rule_rejects_twice_costs_one_refresh(build, serve):
    """An answer of success that says no does not count as the API having taken the token."""
    no = Answer(body=b'{"ok":false,"error":"invalid_auth"}')
    api, token = serve(no, no, no), serve(TOKENS)
    house = build(token, api)
    house.configure(refresh_when=(RefreshRule(200, "", '"error":"invalid_auth"'),))
    session = house.session(house.admit())
    assert session.get("things").json()["error"] == "invalid_auth"
    assert session.get("things").json()["error"] == "invalid_auth"
    assert len(token.asked) == 1
