"""Discovery: what the issuer publishes, fetched once; what the config names wins."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from dataclasses import replace

import pytest
from account_house import at_once
from scripted_server import Answer

from worker.accounts.client import Client, ClientSettings
from worker.clock import SystemClock
from worker.errors import Misconfigured, TryAgainLater


def published(issuer: str, **members) -> Answer:
    document = {"issuer": issuer, "token_endpoint": f"{issuer}/token", "authorization_endpoint": f"{issuer}/authorize"}
    return Answer(200, json.dumps(document | members).encode())


@pytest.fixture
def at_issuer(build, serve):
    """A client of an issuer with these answers, and the issuer's server."""

    def make(*answers):
        server = serve(Answer(404))
        server.answers = [answer(server.origin) if callable(answer) else answer for answer in answers]
        house = build()
        house.configure(issuer=server.origin, token_url=None, authorize_url=None)
        return house.client, server

    return make


def test_client_finds_its_endpoints(at_issuer):
    """Token, authorization, revocation and identity."""
    client, server = at_issuer(
        lambda issuer: published(issuer, revocation_endpoint=f"{issuer}/r", userinfo_endpoint=f"{issuer}/u")
    )
    base = server.origin
    assert (client.token_url(), client.authorize_url()) == (f"{base}/token", f"{base}/authorize")
    assert (client.revoke_url(), client.identity_url()) == (f"{base}/r", f"{base}/u")


def test_client_asks_nobody_who_it_was_without_the_scope_for_it(at_issuer):
    """A published userinfo endpoint refuses tokens without `openid`."""
    client, server = at_issuer(lambda issuer: published(issuer, userinfo_endpoint=f"{issuer}/u"))
    narrow = Client(replace(client.integration, scopes=("read",)), lambda: None, ClientSettings(SystemClock(), "test"))
    assert (client.identity_url(), narrow.identity_url()) == (f"{server.origin}/u", None)


def test_client_asks_once(at_issuer):
    """However many threads want to know."""
    client, server = at_issuer(published)
    at_once([client.token_url] * 8)
    count = len(server.asked)
    client.authorize_url()
    assert len(server.asked) == count <= 4


def test_client_prefers_what_the_config_names(build, serve):
    """Explicit values win, and cost no request."""
    house = build()
    house.configure(issuer="http://127.0.0.1:9")
    assert house.client.token_url() == house.integration.token_url


def test_client_without_issuer_and_url_says_what_is_missing(build):
    """A fault of the config."""
    house = build()
    house.configure(token_url=None)
    with pytest.raises(Misconfigured, match="has no token_url"):
        house.client.token_url()


def test_client_refuses_another_issuer_s_document(at_issuer):
    """To the last slash."""
    client, _ = at_issuer(lambda issuer: published(issuer + "/"))
    with pytest.raises(Misconfigured, match="names the issuer"):
        client.token_url()


def test_client_passes_over_another_issuer_s_document_beside_its_own(at_issuer):
    """A host with several issuers answers at some address with the wrong one."""
    client, server = at_issuer(published, lambda _: published("https://other.example"))
    assert client.token_url() == f"{server.origin}/token"


@pytest.mark.parametrize("answer", [Answer(500), Answer(429), Answer(raw=lambda handler: handler.connection.close())])
def test_client_tries_again_when_the_issuer_cannot_answer(at_issuer, answer):
    """TryAgainLater, and the next call asks anew."""
    client, server = at_issuer(answer)
    with pytest.raises(TryAgainLater):
        client.token_url()
    server.answers = [published(server.origin)]
    assert client.token_url() == f"{server.origin}/token"


@pytest.mark.parametrize("answer", [Answer(404), Answer(200, b"<html>"), Answer(200, b"[]"), Answer(302)])
def test_client_blames_the_config_when_there_is_nothing_at_the_issuer(at_issuer, answer):
    """An address without metadata stays one."""
    client, _ = at_issuer(answer)
    with pytest.raises(Misconfigured, match="no metadata"):
        client.token_url()


def test_client_takes_no_credentials_to_the_issuer(at_issuer, tmp_path, monkeypatch):
    """Least of all those of netrc."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client, server = at_issuer(published)
    client.token_url()
    assert "authorization" not in server.asked[0].headers


def test_client_waits_for_a_silent_issuer_once(build):
    """A host that hangs is not waited for at each of its addresses, and the message is one sentence."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        silent.settimeout(0.0)
        origin = f"http://127.0.0.1:{silent.getsockname()[1]}"
        house = build()
        house.configure(issuer=origin, token_url=None, authorize_url=None, connect_timeout=1.0, read_timeout=0.2)
        with pytest.raises(TryAgainLater) as caught:
            house.client.token_url()
        connections = [silent.accept()[0]]
        with pytest.raises(BlockingIOError):
            silent.accept()
        connections[0].close()
    assert caught.value.message.endswith(f"{origin} cannot be reached: it did not answer within 0.2 s")
    assert caught.value.hint.startswith("nothing to do if it is the provider")


def test_client_goes_on_where_one_address_of_the_issuer_breaks(build, serve):
    """A broken connection says nothing about the issuer's other addresses."""
    server = serve(Answer(404))
    server.answers = [Answer(raw=lambda handler: handler.connection.close()), published(server.origin)]
    house = build()
    house.configure(issuer=server.origin, token_url=None, authorize_url=None)
    assert house.client.token_url() == f"{server.origin}/token"
