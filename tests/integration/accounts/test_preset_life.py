"""The life of a grant by each preset: asked for, redeemed, used, replaced, and dead, over real connections.

The settings are those of the preset's page, its endpoints a server that gives the provider's recorded answers
(`tests/unit/accounts/preset_answers.json`).
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from scripted_server import Answer

from worker.accounts.enrolment import Choices
from worker.config.load import load
from worker.config.preset_files import preset_names
from worker.errors import NeedsConsent

ROOT = Path(__file__).resolve().parents[3]
ROWS = json.loads((ROOT / "tests/unit/accounts/preset_answers.json").read_text(encoding="utf-8"))
REDIRECT = "http://127.0.0.1:8765/callback"
#: What has to stand in the address that people open, beyond what the protocol asks for.
ASKED = {
    "arlo": {"login_hint": "tenant:acme"},
    "atlassian": {"audience": "api.atlassian.com", "prompt": "consent"},
    "google": {"access_type": "offline", "prompt": "consent"},
    "shopify": {"scope": "read_orders,read_products"},
    "slack": {"scope": "channels:read,channels:history"},
}


#: Who wants the client's secret as Basic; the others want it in the form.
BASIC = {"arlo", "quickbooks", "slack", "xero", "zoom"}
#: Who wants the access token in a header of their own.
HEADERS = {"shopify": "X-Shopify-Access-Token"}
#: What has to be sent with a code besides.
REDEEMED = {"shopify": {"expiring": "1"}}


def recorded(preset: str, case: str) -> Answer:
    """An answer as the provider sends it; who consented is left out, since no ID token can be made up."""
    row = next(row for row in ROWS if (row["preset"], row["case"]) == (preset, case))
    body = row["body"]
    if isinstance(body, dict):
        body = json.dumps({name: value for name, value in body.items() if name != "id_token"})
    return Answer(row["status"], body.encode(), [("Content-Type", row.get("content_type", "application/json"))])


@pytest.fixture
def live(tmp_path, build, serve):
    """An integration of the preset at servers of ours: the house, its token endpoint and its API."""

    def make(preset):
        token = serve(*(recorded(preset, case) for case in ("granted", "rotated", "dead")))
        api = serve(Answer(), Answer(401), Answer(), Answer(401))
        page = (ROOT / f"docs/presets/{preset}.md").read_text(encoding="utf-8")
        config = tmp_path / "preset.toml"
        config.write_text(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0], encoding="utf-8")
        (settings,) = load(config, {}).integrations.values()
        house = build(token, api)
        local = {name: getattr(house.integration, name) for name in ("name", "token_url", "api_base", "api_origins")}
        asks = {"issuer": None, "identity_url": None, "redirect_uri": REDIRECT, "allow_http": True}
        house.client = house.clients["arlo"] = house.new_client(replace(settings, **local, **asks))
        return house, token, api

    return make


def enrol(house):
    """Consent as the provider's page would send it back; the address that was opened, and the account."""
    attempt = house.enrolment.begin(house.client, "acme", REDIRECT)
    callback = f"{REDIRECT}?code=code-1&state={attempt.expected.state}"
    house.enrolment.finish(attempt, callback, Choices())
    return attempt.url, house.account()


@pytest.mark.parametrize("preset", preset_names())
def test_preset_asks_for_what_brings_a_lasting_grant(live, preset):
    """Scopes as the provider separates them, and its own parameters."""
    house, _, _ = live(preset)
    url, _ = enrol(house)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    scopes = {"scope": " ".join(house.integration.scopes)} if house.integration.scopes else {}
    expected = scopes | ASKED.get(preset, {})
    assert {name: asked.get(name) for name in expected} == expected
    assert ("scope" in asked) == bool(scopes)


@pytest.mark.parametrize("preset", preset_names())
def test_preset_s_client_proves_itself_in_one_place(live, preset):
    """Basic or the form, never both, and with what the provider wants besides."""
    house, token, _ = live(preset)
    enrol(house)
    (request,) = token.asked
    sent, basic = request.form, request.headers.get("authorization", "")
    if preset in BASIC:
        assert base64.b64decode(basic.removeprefix("Basic ")).decode().endswith(f":{house.secret}")
        assert "client_secret" not in sent
    else:
        assert (basic, sent["client_id"], sent["client_secret"]) == ("", house.integration.client_id, house.secret)
    assert (sent["grant_type"], sent["code"], sent["redirect_uri"]) == ("authorization_code", "code-1", REDIRECT)
    assert REDEEMED.get(preset, {}).items() <= sent.items()


@pytest.mark.parametrize("preset", preset_names())
def test_preset_s_grant_lives_until_the_provider_says_that_it_is_dead(live, preset):
    """Used, replaced after a rejection, used again, and at the end a human is asked for."""
    house, token, api = live(preset)
    _, account = enrol(house)
    field = HEADERS.get(preset, "Authorization")
    session = house.session(account, token_header=house.integration.token_header)
    assert [session.get("things").status_code for _ in range(2)] == [200, 200]
    with pytest.raises(NeedsConsent):
        session.get("things")
    sent = [request.headers[field.lower()].removeprefix("Bearer ") for request in api.asked]
    assert sent == ["access-token-1", "access-token-1", "access-token-2", "access-token-2"]
    kept = token.asked[1].form["refresh_token"]
    replaced = next(row for row in ROWS if (row["preset"], row["case"]) == (preset, "rotated"))["tokens"][
        "refresh_token"
    ]
    assert (kept, token.asked[2].form["refresh_token"]) == ("refresh-token-1", replaced or kept)
    assert house.account().state == "needs_consent"


def test_preset_that_wants_it_repeats_the_redirect_uri(live):
    """Arlo's own client does."""
    house, token, _ = live("arlo")
    _, account = enrol(house)
    house.refresh(account)
    assert token.asked[1].form["redirect_uri"] == REDIRECT
