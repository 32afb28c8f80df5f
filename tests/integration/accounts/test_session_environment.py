"""Proxies and CA bundle come from the environment, as with requests, and are read once for each host."""

from __future__ import annotations

import pytest
import requests
from scripted_server import Answer

DONE = Answer(body=b"through")


@pytest.fixture
def proxied(build, serve, monkeypatch):
    """A session whose API lies behind the proxy of the environment; the session and the proxy."""
    proxy = serve(DONE)
    monkeypatch.setenv("http_proxy", proxy.origin)
    house = build(None, None, api_base='"http://api.example/v1/"')
    return house.session(house.admit()), proxy


def test_proxy_of_the_environment_is_used(proxied):
    """With the token, since it only carries what is meant for the API."""
    session, proxy = proxied
    assert session.get("things").text == "through"
    assert proxy.asked[0].path == "http://api.example/v1/things"
    assert proxy.asked[0].headers["authorization"] == "Bearer access-token-1"


def test_proxy_is_used_for_a_prepared_request(proxied):
    """`send` reads the environment by itself."""
    session, proxy = proxied
    session.send(session.prepare_request(requests.Request("GET", "http://api.example/v1/x")))
    assert proxy.asked[0].path == "http://api.example/v1/x"


def test_environment_is_read_once_for_a_host(proxied, monkeypatch):
    """A session that serves for months does not read it with every request."""
    session, proxy = proxied
    session.get("a")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert session.get("b").text == "through"
    assert len(proxy.asked) == 2


def test_no_proxy_is_honoured_host_by_host(build, serve, monkeypatch):
    """One host through the proxy, another straight."""
    proxy, api = serve(DONE), serve(Answer(body=b"straight"))
    monkeypatch.setenv("http_proxy", proxy.origin)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    house = build(None, api)
    session = house.session(house.admit())
    assert session.get("things").text == "straight"
    assert session.get("http://other.example/x").text == "through"
    assert "authorization" not in proxy.asked[0].headers


def test_proxies_of_the_session_may_be_set_at_any_time(proxied, serve):
    """Also after the first request."""
    session, _ = proxied
    session.get("a")
    session.proxies["http"] = serve(Answer(body=b"another")).origin
    session.trust_env = False
    assert session.get("b").text == "another"


def test_proxies_of_a_request_win(proxied, serve):
    """`proxies=`."""
    session, _ = proxied
    assert session.get("a", proxies={"http": serve(Answer(body=b"another")).origin}).text == "another"


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_ca_bundle_of_the_environment_is_honoured(build, serve, certified, monkeypatch, name):
    """Networks with a certificate authority of their own."""
    monkeypatch.setenv(name, str(certified[0]))
    api = serve(DONE, tls=certified)
    house = build(None, api)
    assert house.session(house.admit()).get("things").text == "through"


def test_unknown_certificate_is_refused(build, serve, certified):
    """And the token has not been sent."""
    api = serve(DONE, tls=certified)
    house = build(None, api)
    with pytest.raises(requests.exceptions.SSLError):
        house.session(house.admit()).get("things")
    assert api.asked == []


def test_verify_of_a_request_wins(build, serve, certified):
    """`verify=`."""
    api = serve(DONE, tls=certified)
    house = build(None, api)
    assert house.session(house.admit()).get("things", verify=str(certified[0])).text == "through"


def test_netrc_is_not_asked(build, serve, tmp_path, monkeypatch):
    """Neither for the API, where the token belongs, nor for strangers."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    api, elsewhere = serve(DONE), serve(DONE)
    house = build(None, api)
    session = house.session(house.admit())
    session.get("things")
    session.get(f"{elsewhere.origin}/x")
    assert [server.asked[0].headers.get("authorization") for server in (api, elsewhere)] == [
        "Bearer access-token-1",
        None,
    ]
