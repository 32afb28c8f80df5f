"""Where the token goes: to the integration's own origins, hop by hop, and nowhere else."""

from __future__ import annotations

import pytest
from scripted_server import Answer

TOKENS = Answer(body=b'{"access_token": "access-token-2", "expires_in": 3600}')
MINE = "Bearer access-token-1"


def to(url: str, status: int = 302) -> Answer:
    return Answer(status, b"", [("Location", url)])


def credentials(server) -> list[str | None]:
    return [request.headers.get("authorization") for request in server.asked]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_within_the_origin_keeps_the_token(build, serve, status):
    """A resource that has moved on the same host."""
    api = serve(to("/api/new", status), Answer())
    house = build(None, api)
    response = house.session(house.admit()).get("old")
    assert (response.status_code, credentials(api)) == (200, [MINE, MINE])
    assert [one.status_code for one in response.history] == [status]


@pytest.mark.parametrize("status", [302, 307, 308])
def test_redirect_to_another_origin_loses_the_token(build, serve, status):
    """Another port is another origin, on whatever host."""
    elsewhere = serve(Answer())
    api = serve(to(f"{elsewhere.origin}/x", status))
    house = build(None, api)
    response = house.session(house.admit()).post("things", data=b"x")
    assert (response.status_code, credentials(elsewhere)) == (200, [None])


def test_redirect_to_another_name_of_the_host_loses_the_token(build, serve):
    """`localhost` is not 127.0.0.1."""
    api = serve(Answer())
    api.answers.insert(0, to(f"http://localhost:{api.port}/x"))
    house = build(None, api)
    house.session(house.admit()).get("things")
    assert credentials(api) == [MINE, None]


def test_redirect_down_to_http_loses_the_token(build, serve, certified):
    """The https origin may have it, the http one of the same host may not."""
    plain = serve(Answer())
    api = serve(to(f"{plain.origin}/x"), tls=certified)
    house = build(None, api)
    session = house.session(house.admit())
    session.verify = str(certified[0])
    session.get("things")
    assert (credentials(api), credentials(plain)) == ([MINE], [None])


def test_redirect_elsewhere_and_back_gets_the_token_again(build, serve):
    """Every hop is judged by its own origin."""
    api, elsewhere = serve(Answer()), serve(Answer())
    api.answers.insert(0, to(f"{elsewhere.origin}/x"))
    elsewhere.answers = [to(f"{api.origin}/api/home")]
    house = build(None, api)
    house.session(house.admit()).get("things")
    assert (credentials(api), credentials(elsewhere)) == ([MINE, MINE], [None])


def test_redirect_to_a_second_origin_of_the_integration_keeps_the_token(build, serve):
    """`api_origins` says where it may go."""
    second = serve(Answer())
    api = serve(to(f"{second.origin}/files/1"))
    house = build(None, api)
    house.configure(api_origins=(api.origin, second.origin))
    house.session(house.admit()).get("things")
    assert credentials(second) == [MINE]


def test_rejection_after_a_redirect_is_mended_at_that_hop(build, serve):
    """A hop that rejects the token is refreshed for and replayed, not the first one."""
    api, token = serve(to("/api/new"), Answer(401), Answer()), serve(TOKENS)
    house = build(token, api)
    response = house.session(house.admit()).get("old")
    assert (response.status_code, len(token.asked)) == (200, 1)
    assert [request.path for request in api.asked] == ["/api/old", "/api/new", "/api/new"]
    assert credentials(api)[-1] == "Bearer access-token-2"


def test_foreign_url_gets_no_token_and_no_refresh(build, serve):
    """An absolute URL elsewhere, such as a download link, is a plain request, its 401 a plain answer."""
    api, token = serve(), serve(TOKENS)
    elsewhere = serve(Answer(401, b"", [("WWW-Authenticate", 'Bearer error="invalid_token"')]))
    house = build(token, api)
    response = house.session(house.admit()).get(f"{elsewhere.origin}/download")
    assert (response.status_code, credentials(elsewhere), token.asked) == (401, [None], [])


@pytest.mark.parametrize(
    "trick", ["http://{host}@{evil}/x", "http://{evil}/{host}", "http://{evil}?{host}", "//{evil}/x"]
)
def test_url_that_looks_like_ours_gets_no_token(build, serve, trick):
    """The origin is read as the connection is made, not as the text looks."""
    api, elsewhere = serve(), serve(Answer())
    house = build(None, api)
    host, evil = f"127.0.0.1:{api.port}", f"127.0.0.1:{elsewhere.port}"
    house.session(house.admit()).get(trick.format(host=host, evil=evil))
    assert all(value != MINE for value in credentials(elsewhere))


class TestOwnCredentials:
    """A caller that brings an Authorization of his own."""

    def test_are_left_alone(self, build, serve):
        """Sent as they are, and their rejection is the caller's."""
        api, token = serve(Answer(401)), serve(TOKENS)
        house = build(token, api)
        response = house.session(house.admit()).get("things", headers={"Authorization": "Basic bWU6bWU="})
        assert (response.status_code, credentials(api), token.asked) == (401, ["Basic bWU6bWU="], [])

    def test_given_as_auth_are_left_alone(self, build, serve):
        """`auth=` is the other way to bring them."""
        api = serve(Answer())
        house = build(None, api)
        house.session(house.admit()).get("things", auth=("me", "me"))
        assert credentials(api) == ["Basic bWU6bWU="]

    def test_in_the_address_are_left_alone(self, build, serve):
        """As requests does with `user:password@`."""
        api = serve(Answer())
        house = build(None, api)
        house.session(house.admit()).get(f"http://me:me@127.0.0.1:{api.port}/api/x")
        assert credentials(api) == ["Basic bWU6bWU="]

    def test_follow_a_redirect_within_the_host_only(self, build, serve):
        """Kept at home, dropped elsewhere, and never exchanged for ours on the way."""
        elsewhere = serve(Answer())
        api = serve(to("/api/b"), to(f"{elsewhere.origin}/x"))
        house = build(None, api)
        house.session(house.admit()).get("a", headers={"Authorization": "Basic bWU6bWU="})
        assert credentials(api) == ["Basic bWU6bWU="] * 2
        assert credentials(elsewhere) == [None]


class TestSentAgain:
    """A request that has been through the session once carries our token: it is not the caller's."""

    def test_prepared_request_gets_the_current_token(self, build, serve):
        """A loop that sends one prepared request over and over outlives the token."""
        api, token = serve(Answer(), Answer(401), Answer(), Answer()), serve(TOKENS)
        house = build(token, api)
        session = house.session(house.admit())
        import requests

        prepared = session.prepare_request(requests.Request("GET", f"{api.origin}/api/x"))
        assert [session.send(prepared).status_code for _ in range(3)] == [200] * 3
        assert credentials(api) == [MINE, MINE, "Bearer access-token-2", "Bearer access-token-2"]

    def test_elsewhere_it_loses_the_token(self, build, serve):
        """Turned to another host, as some paging code does, it takes no token along."""
        api, elsewhere = serve(Answer()), serve(Answer())
        house = build(None, api)
        session = house.session(house.admit())
        request = session.get("things").request.copy()
        request.url = f"{elsewhere.origin}/next"
        session.send(request)
        assert credentials(elsewhere) == [None]


def test_redirects_without_end_are_an_error(build, serve):
    """As with requests."""
    import requests

    api = serve(to("/api/again"))
    house = build(None, api)
    with pytest.raises(requests.TooManyRedirects):
        house.session(house.admit()).get("again")


def test_redirect_is_not_followed_when_told_so(build, serve):
    """`allow_redirects=False`, and `HEAD` by default; `next` is there to be sent."""
    api = serve(to("/api/new"), to("/api/new"), Answer())
    house = build(None, api)
    session = house.session(house.admit())
    assert session.head("old").status_code == 302
    response = session.get("old", allow_redirects=False)
    assert session.send(response.next).status_code == 200
    assert credentials(api) == [MINE] * 3


def test_redirect_elsewhere_loses_the_integration_s_own_headers(build, serve):
    """An API key in the config goes where the token goes; how we like our answers may be known to anybody."""
    elsewhere = serve(Answer())
    api = serve(to(f"{elsewhere.origin}/x"))
    house = build(None, api)
    session = house.session(house.admit(), headers={"X-Api-Key": "only-for-mine", "Accept": "application/xml"})
    session.get("things")
    assert api.asked[0].headers.get("x-api-key") == "only-for-mine"
    assert elsewhere.asked[0].headers.get("x-api-key") is None
    assert elsewhere.asked[0].headers.get("accept") == "application/xml"
