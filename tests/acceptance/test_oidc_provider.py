"""Against a certified authorization server: every way to prove who the client is, and every way to enrol."""

from __future__ import annotations

import base64
import hashlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from conftest import require_tool
from servers import ACCESS_TTL, ITEMS_JOB, ClientOf, OidcProvider
from workplace import REDIRECT_URI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workplace import Workplace

CONFIDENTIAL, POSTING, PUBLIC, ODD = OidcProvider.clients
JOB = '[jobs.sync]\nuses = "catalogue.items"\nintegration = "api"'


@pytest.fixture(scope="module")
def provider(oidc_packages: Path) -> Iterator[OidcProvider]:
    """One for all tests in here; each has users of its own."""
    with OidcProvider(oidc_packages) as server:
        yield server


def prepare(place: Workplace, provider: OidcProvider, client: ClientOf) -> None:
    """A config for one client, and its secret in the store."""
    place.configure(provider.integration(client))
    place.configure(JOB)
    place.add_job("catalogue.py", ITEMS_JOB)
    if client.secret:
        place("secrets", "set", "api", given=f"{client.secret}\n")


@pytest.mark.parametrize("client", OidcProvider.clients, ids=["basic", "post", "none", "odd-characters"])
def test_client_enrols_refreshes_and_revokes(workplace: Workplace, provider: OidcProvider, client: ClientOf) -> None:
    """Each way of client authentication works at the token and at the revocation endpoint."""
    user = f"user-of-{client.id}"
    prepare(workplace, provider, client)
    workplace.paste("acme", lambda url: provider.consent(url, user))
    workplace("jobs", "run", "sync")
    time.sleep(ACCESS_TTL)  # the token's own lifetime
    workplace("jobs", "run", "sync")
    refreshes = provider.refreshes(user)
    assert workplace.account("acme")["generation"] == 1 + refreshes > 1
    ended = len(provider.facts()["ended"])
    workplace("accounts", "revoke", "api", "acme", "--yes")
    assert workplace.account("acme")["state"] == "revoked"
    assert len(provider.facts()["ended"]) == ended + 1


def test_wrong_client_secret_is_an_incident_and_the_account_keeps_its_state(
    workplace: Workplace, provider: OidcProvider
) -> None:
    """invalid_client is the integration's fault: exit code 78, one incident, and the new secret mends it."""
    prepare(workplace, provider, CONFIDENTIAL)
    workplace.paste("acme", lambda url: provider.consent(url, "dora"))
    time.sleep(ACCESS_TTL)
    workplace("secrets", "set", "api", given="not the secret\n")
    workplace("jobs", "run", "sync", expect=78)
    assert workplace.account("acme")["state"] == "active"
    assert [row["kind"] for row in workplace("status", "--json", expect=1).json["incidents"]] == ["client_refused"]


def test_loopback_enrols_with_a_real_browser(workplace: Workplace, provider: OidcProvider) -> None:
    """`--loopback` opens the browser, and the consent comes back to 127.0.0.1 on a port nobody registered."""
    chromium = require_tool("chromium")
    text = provider.integration(PUBLIC).replace(f'redirect_uri = "{REDIRECT_URI}"\n', "")
    workplace.configure(text)
    person = Path(__file__).with_name("chromium_person.py")
    workplace.environ |= {"BROWSER": f"{sys.executable} {person} %s erin", "CHROMIUM": chromium}
    done = workplace("enroll", "api", "acme", "--loopback")
    assert "api/acme is enrolled, consented by erin" in done.out
    assert workplace.account("acme")["subject"] == "erin"


def test_import_token_takes_over_from_another_tool(workplace: Workplace, provider: OidcProvider) -> None:
    """A refresh token that another tool was given is spent once, and its successor kept."""
    prepare(workplace, provider, CONFIDENTIAL)
    token = other_tool(provider, "frank")
    done = workplace("enroll", "api", "acme", "--import-token", "--json", given=f"{token}\n")
    assert (done.json["state"], done.json["identity"]) == ("active", "frank")
    assert provider.refreshes("frank") == 1
    workplace("jobs", "run", "sync")


def test_enrolment_needs_the_callback_to_name_the_issuer(workplace: Workplace, provider: OidcProvider) -> None:
    """The server advertises `iss` (RFC 9207): an answer without it is refused, and nothing is stored."""
    prepare(workplace, provider, CONFIDENTIAL)

    def without_issuer(url: str) -> str:
        place, _, query = provider.consent(url, "gina").partition("?")
        given = {name: values[0] for name, values in parse_qs(query).items() if name != "iss"}
        return f"{place}?{urlencode(given)}"

    done = workplace.paste("acme", without_issuer, expect=1)
    assert "iss" in done.err
    assert workplace("accounts", "list", "--json").json == []


def other_tool(provider: OidcProvider, user: str) -> str:
    """A refresh token, by means of another client program with the same registration."""
    verifier = "another-tool-another-tool-another-tool-another-tool"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": CONFIDENTIAL.id,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid offline_access items:read",
        "prompt": "consent",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    back = provider.consent(f"{provider.issuer}/auth?{urlencode(query)}", user)
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(back).query)["code"][0],
        "redirect_uri": REDIRECT_URI,
        "code_verifier": verifier,
    }
    with requests.Session() as session:
        session.trust_env = False
        credentials = (CONFIDENTIAL.id, CONFIDENTIAL.secret.replace(" ", "+"))
        answer = session.post(f"{provider.issuer}/token", data=form, auth=credentials, timeout=30)
    return str(answer.json()["refresh_token"])
