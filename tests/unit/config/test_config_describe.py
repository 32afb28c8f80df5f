from __future__ import annotations

import json

from worker.config.describe import describe

FULL = """
[worker]
user_agent = "x/1 (me@example.org)"
[store]
url = "postgresql://worker:sEcret-store@db/worker"
[keyring]
command = "vault read -token=sEcret-argument keyring"
[integrations.arlo]
preset = "arlo"
platform = "acme"
client_id = "c"
client_secret = "sEcret-literal"
headers = { "Ocp-Apim-Subscription-Key" = "sEcret-header", "X-Odd" = "sEcret-odd" }
authorize_params = { access_type = "offline", api_key = "sEcret-parameter" }
token_params = { client_assertion = "sEcret-assertion" }
token_names = { access_token = "accessToken" }
refresh_when = [{ status = 419 }]
[jobs.j]
uses = "arlo.events"
integration = "arlo"
every = "90m"
params = { password = "sEcret-password", note = "hello", nested = { token = "sEcret-nested" } }
[[notify]]
url = "mailto://me:sEcret-mail@example.org"
[[notify]]
webhook = "https://h.example.org/"
secret = "sEcret-signing"
[[notify]]
command = "page --token sEcret-page"
"""


def test_description_has_no_secret(folder):
    """Nine places where somebody may have put one; none is shown."""
    assert "sEcret" not in json.dumps(describe(folder.load(FULL)))


def test_description_shows_what_is_in_effect(folder):
    """Defaults, presets and durations as they would be written."""
    shown = describe(folder.load(FULL))
    assert shown["worker"]["history"] == "12w6d"
    assert shown["jobs"]["j"]["every"] == "1h30m"
    assert shown["jobs"]["j"]["params"] == {
        "password": "[redacted]", "note": "hello", "nested": {"token": "[redacted]"},
    }  # fmt: skip
    arlo = shown["integrations"]["arlo"]
    assert arlo["token_url"] == "https://acme.arlo.co/oauth/connect/token"
    assert arlo["rate_limit"] == ["300/1m per integration"]
    assert arlo["headers"]["Accept"] == "application/xml"
    assert arlo["refresh_when"] == [{"status": 419, "header": "", "body": ""}]
    assert arlo["token_names"] == {"access_token": "accessToken"}


def test_description_says_where_secrets_come_from(folder, integration):
    """The origin is no secret."""
    shown = describe(folder.load(f'{integration}client_secret_file = "a.secret"\n[store]\nurl_env = "STORE"'))
    assert shown["integrations"]["arlo"]["client_secret"] == {"file": "a.secret"}
    assert shown["store"]["url"] == {"env": "STORE"}
    assert shown["keyring"] == {"file": "worker.key"}


def test_description_says_when_the_store_keeps_the_secret(folder, integration):
    """The usual case."""
    shown = describe(folder.load(integration))["integrations"]["arlo"]
    assert shown["client_secret"] == "kept in the encrypted store"
