from __future__ import annotations

import pytest

from worker.config.model import RateLimit, RefreshRule

HEAD = '[integrations.i]\nclient_id = "c"\n'
TOKEN = HEAD + 'token_url = "https://a.example/t"\n'
SOUND = TOKEN + 'api_base = "https://api.example/"\n'

FAULTS = [
    (HEAD, "token_url", 'missing; write token_url = "https://…", or issuer'),
    ('[integrations.i]\ntoken_url = "https://a.example/t"', "client_id", 'missing; write client_id = "my-client"'),
    (TOKEN + 'scopes = "read write"', "scopes", 'a string; write a list: ["read", "write"]'),
    (TOKEN + 'scopes = ["read write"]', "scopes[1]", "one scope an item"),
    (TOKEN + 'scopes = ["a", "a"]', "scopes[2]", "is there already"),
    (TOKEN + 'client_auth = "bearer"', "client_auth", 'write one of "basic" | "post" | "none"'),
    (TOKEN + 'preset = "alro"', "preset", 'did you mean "arlo"?'),
    (TOKEN + 'preset = "arlo"', "platform", 'preset "arlo" needs it; write platform = the "acme"'),
    (TOKEN + 'preset = "arlo"\nplatform = "a.b"', "platform", '"a.b" does not fit; write the "acme"'),
    (TOKEN + 'preset = "quickbooks"\nplatform = "acme"', "platform", "does not fit; write the company id"),
    (TOKEN + 'preset = "microsoft"\nplatform = "a..b"', "platform", "does not fit; write the tenant"),
    (TOKEN + 'preset = "salesforce"\nplatform = "a.example"', "platform", "does not fit"),
    (TOKEN + 'preset = "arlo"\nplatform = ""', "platform", "empty"),
    (TOKEN + 'preset = "arlo"\nplatform = 1', "platform", "1 is a number"),
    (TOKEN + 'authorize_url = "a.example/x"', "authorize_url", "is no whole URL"),
    (TOKEN + 'authorize_url = "https:///x"', "authorize_url", "names no host"),
    (TOKEN + 'authorize_url = "ftp://h/x"', "authorize_url", "is not an https address"),
    (TOKEN + 'authorize_url = "https://h/x y"', "authorize_url", "has a space"),
    (TOKEN + 'authorize_url = "https://h:x/"', "authorize_url", "is no URL"),
    (TOKEN + 'authorize_url = "https://h/#f"', "authorize_url", "has a fragment"),
    (TOKEN + 'authorize_url = "https://u@h/"', "authorize_url", "a user name or password in a URL"),
    (TOKEN + 'authorize_url = "http://h/x"', "authorize_url", 'write "https://h/x", or allow_http = true'),
    (TOKEN + 'redirect_uri = "http://h/x"', "redirect_uri", "plain http"),
    (TOKEN + 'redirect_uri = "/callback"', "redirect_uri", "is no whole URL"),
    (TOKEN + 'api_origins = ["https://h/path"]', "api_origins[1]", 'is more than an origin; write "https://h"'),
    (TOKEN + 'api_origins = ["http://h"]', "api_origins[1]", "plain http"),
    (TOKEN + 'api_origins = "https://h"', "api_origins", 'write a list: ["https://h"]'),
    (TOKEN + 'rate_limit = "300"', "rate_limit", "is no rate; write COUNT/UNIT"),
    (TOKEN + 'rate_limit = "0/minute"', "rate_limit", "is no rate"),
    (TOKEN + "rate_limit = 300", "rate_limit", "300 is a number"),
    (TOKEN + 'rate_limit = ["300/minute", "5 a second"]', "rate_limit[2]", "is no rate"),
    (TOKEN + 'rate_limit = ["300/minute", 5]', "rate_limit[2]", "5 is a number"),
    (TOKEN + 'rate_limit = "5/second per planet"', "rate_limit", "is no rate"),
    (TOKEN + 'idempotency_header = "no header"', "idempotency_header", "no header"),
    (TOKEN + 'rate_limit = "300/fortnight"', "rate_limit", "is no rate"),
    (TOKEN + 'headers = { Authorization = "x" }', "headers.Authorization", "the worker sets this header itself"),
    (TOKEN + 'headers = { "a b" = "x" }', 'headers."a b"', "is no header name"),
    (TOKEN + 'headers = { A = "x\\ny" }', "headers.A", "one line of ASCII"),
    (TOKEN + "headers = { A = 1 }", "headers.A", "1 is a number"),
    (TOKEN + 'headers = { A = "1", a = "2" }', "headers.a", "another spelling"),
    (TOKEN + 'authorize_params = { state = "x" }', "authorize_params.state", "the worker sets it itself"),
    (TOKEN + 'token_params = { grant_type = "x" }', "token_params.grant_type", "the worker sets it itself"),
    (TOKEN + 'token_names = { acces_token = "x" }', "token_names.acces_token", "no field of a token answer"),
    (TOKEN + 'dead_errors = ["x"]\nclient_errors = ["x"]', "client_errors", '"x" is in dead_errors, too'),
    (TOKEN + "refresh_when = [{ status = 403 }]", "refresh_when[1]", "every 403 would cost a refresh"),
    (TOKEN + 'refresh_when = [{ body = "x" }]', "refresh_when[1]", "no status"),
    (TOKEN + 'refresh_when = [{ status = 199, body = "x" }]', "refresh_when[1].status", "from 200 to 599"),
    (TOKEN + "refresh_when = [{ status = 200 }]", "refresh_when[1]", "an answer of success; add the body text"),
    (TOKEN + 'refresh_when = [{ status = 200, header = "x" }]', "refresh_when[1]", "add the body text"),
    (TOKEN + 'token_header = "a b"', "token_header", "is no header name"),
    (TOKEN + 'token_header = "Cookie"', "token_header", "has a meaning of its own"),
    (TOKEN + "token_header = 1", "token_header", "1 is a number"),
    (TOKEN + 'token_header = "X-T"\nheaders = { x-t = "y" }', "headers.x-t", "the access token goes there"),
    (TOKEN + 'scope_parameter = "a b"', "scope_parameter", "the name of a parameter"),
    (TOKEN + 'unlisted_scopes = "a b"', "unlisted_scopes", 'write a list: ["a", "b"]'),
    (TOKEN + 'refresh_when = [{ status = 400, boddy = "x" }]', "refresh_when[1].boddy", 'did you mean "body"?'),
    (TOKEN + 'client_secret = "x"\nclient_secrets_file = "y"', "client_secrets_file", 'mean "client_secret_file"?'),
    (TOKEN + 'client_secret_file = "~/x"', "client_secret_file", "not expanded"),
    (TOKEN + 'client_secret_command = ""', "client_secret_command", "empty"),
    (TOKEN + 'timeout = "5s"', "timeout", 'did you mean "read_timeout"?'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "option", "what"), FAULTS, ids=[f"{option}-{what[:24]}" for _, option, what in FAULTS]
)
def test_integration_names_place_find_and_remedy(folder, text, option, what):
    """Each kind of fault of an integration, alone at its place."""
    problems = folder.problems(text)
    assert what in problems[f"integrations.i.{option}"]
    assert len(problems) == 1


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "[::1]:8000", "localhost", "LOCALHOST:1"])
def test_integration_lets_loopback_be_plain_http(folder, host):
    """What does not leave the machine needs no TLS, and no warning."""
    text = f'{HEAD}token_url = "http://{host}/t"\napi_base = "http://{host}/api"\nredirect_uri = "http://{host}/cb"'
    assert folder.warnings(text) == {}


@pytest.mark.parametrize("host", ["127.0.0.1.example.org", "localhost.example.org", "10.0.0.1", "0.0.0.0"])
def test_integration_does_not_mistake_a_host_for_loopback(folder, host):
    """Only the exact names are this machine."""
    assert "plain http" in folder.problems(f'{HEAD}token_url = "http://{host}/t"')["integrations.i.token_url"]


def test_integration_lets_http_be_allowed_with_a_warning(folder):
    """An operator may insist; the warning stays."""
    config = folder.load(f'{HEAD}token_url = "http://h/t"\napi_base = "http://h/"\nallow_http = true')
    assert config.integrations["i"].allow_http
    assert [place for place, _ in config.warnings] == ["integrations.i.allow_http"]


def test_integration_takes_an_apps_own_redirect_scheme(folder):
    """RFC 8252 section 7.1."""
    assert (
        folder.load(f'{SOUND}redirect_uri = "com.example.app:/cb"').integrations["i"].redirect_uri
        == "com.example.app:/cb"
    )


def test_integration_needs_no_token_url_with_an_issuer(folder):
    """Discovery will find it."""
    i = folder.load(f'{HEAD}issuer = "https://a.example"\napi_base = "https://api.example/v1"').integrations["i"]
    assert (i.issuer, i.token_url) == ("https://a.example", None)


@pytest.mark.parametrize(
    ("base", "origin"),
    [
        ("https://API.example.com:443/v1/", "https://api.example.com"),
        ("https://api.example.com:8443/v1/", "https://api.example.com:8443"),
        ("http://[::1]:80/x", "http://[::1]"),
    ],
)
def test_integration_lets_the_token_go_to_the_origin_of_its_base(folder, base, origin):
    """Origins are compared as text later, so they are spelled one way (RFC 6454)."""
    assert folder.load(f'{TOKEN}api_base = "{base}"').integrations["i"].api_origins == (origin,)


def test_integration_warns_when_the_token_can_go_nowhere(folder):
    """It could be enrolled, but no job could call anything."""
    assert "sent nowhere" in folder.warnings(TOKEN)["integrations.i.api_base"]


def test_integration_warns_when_origins_leave_out_the_base(folder):
    """Every request would go out without its token."""
    text = f'{SOUND}api_origins = ["https://other.example"]'
    assert 'add "https://api.example"' in folder.warnings(text)["integrations.i.api_origins"]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("300/minute", RateLimit(300, 60.0, "integration")),
        ("300/minute per account", RateLimit(300, 60.0, "account")),
        ("10/second per integration", RateLimit(10, 1.0, "integration")),
        ("5/30s", RateLimit(5, 30.0, "integration")),
        ("1000/h", RateLimit(1000, 3600.0, "integration")),
        (" 86400 / Day ", RateLimit(86400, 86400.0, "integration")),
        ("5/second per host", RateLimit(5, 1.0, "host")),
    ],
)
def test_rate_limit_reads_count_unit_and_share(folder, text, limit):
    """COUNT/UNIT, for all accounts together or for each."""
    assert folder.load(f'{SOUND}rate_limit = "{text}"').integrations["i"].rate_limit == (limit,)


def test_rate_limits_may_stand_together(folder):
    """All of them hold; one that is there twice is there once."""
    limits = '["300/minute", "10/second per account", "5/s per host", "300/60s"]'
    assert folder.load(f"{SOUND}rate_limit = {limits}").integrations["i"].rate_limit == (
        RateLimit(300, 60.0, "integration"),
        RateLimit(10, 1.0, "account"),
        RateLimit(5, 1.0, "host"),
    )


def test_no_rate_limit_is_none(folder):
    """What the API says by itself is heeded in any case."""
    assert folder.load(SOUND).integrations["i"].rate_limit == ()


def test_integration_reads_refresh_rules(folder):
    """Rules become values; what is left out matches anything."""
    rules = folder.load(f'{SOUND}refresh_when = [{{ status = 419 }}, {{ status = 403, body = "expired" }}]')
    assert rules.integrations["i"].refresh_when == (RefreshRule(419, "", ""), RefreshRule(403, "", "expired"))


def test_integration_reads_how_a_provider_answers(folder):
    """Settings of the dialect, with what stands for "not given"."""
    plain = folder.load(SOUND).integrations["i"]
    assert (plain.token_path, plain.scope_separator, plain.default_expires_in, plain.expires_in_unit) == (
        (), "", None, "seconds",
    )  # fmt: skip
    told = folder.load(f'{SOUND}token_path = "data.token"\nscope_separator = ","\ndefault_expires_in = "1h"')
    odd = told.integrations["i"]
    assert (odd.token_path, odd.scope_separator, odd.default_expires_in) == (("data", "token"), ",", 3600.0)


def test_integration_keeps_its_secret_in_the_store_by_default(folder):
    """Nothing in the file: nothing to read, nothing to warn of."""
    config = folder.load(SOUND)
    assert (config.integrations["i"].secrets, config.warnings) == ({}, ())


def test_integration_warns_of_a_literal_secret(folder):
    """Allowed, loaded, and said."""
    config = folder.load(f'{SOUND}client_secret = "hunter2hunter2"')
    assert config.integrations["i"].secrets["client_secret"].read({}, folder.path).reveal() == "hunter2hunter2"
    assert "clear text" in dict(config.warnings)["integrations.i.client_secret"]
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(("key", "kind"), [("file", "file"), ("env", "env"), ("command", "command")])
def test_integration_prefers_a_secret_from_elsewhere(folder, key, kind):
    """x_file, x_env and x_command win over x."""
    config = folder.load(f'{SOUND}client_secret = "hunter2hunter2"\nclient_secret_{key} = "abc"')
    assert config.integrations["i"].secrets["client_secret"].kind == kind
    assert f"client_secret_{key} wins" in dict(config.warnings)["integrations.i.client_secret"]


def test_integration_refuses_two_origins_of_one_secret(folder):
    """Which of them wins would be a guess."""
    problems = folder.problems(f'{SOUND}client_secret_file = "a"\nclient_secret_env = "B"')
    assert problems == {"integrations.i.client_secret_env": "given beside client_secret_file; keep one of the two"}


def test_integration_warns_of_a_secret_that_is_not_sent(folder):
    """A public client has none."""
    text = f'{SOUND}client_auth = "none"\nclient_secret_env = "B"'
    assert "sends no secret" in folder.warnings(text)["integrations.i.client_auth"]


def test_integration_warns_of_a_platform_without_a_preset(folder):
    """Somebody forgot a line."""
    assert "without a preset" in folder.warnings(f'{SOUND}platform = "acme"')["integrations.i.platform"]


def test_integration_warns_of_a_platform_that_its_preset_has_no_use_for(folder):
    """The address does not depend on it."""
    text = f'{HEAD}preset = "github"\nplatform = "acme"'
    assert 'preset "github" needs none' in folder.warnings(text)["integrations.i.platform"]


def test_integration_warns_of_scopes_that_bring_no_refresh_token(folder):
    """The list in the file replaces the preset's."""
    text = f'{HEAD}preset = "xero"\nscopes = ["openid"]'
    assert 'lacks "offline_access"' in folder.warnings(text)["integrations.i.scopes"]
    assert not folder.warnings(f'{HEAD}preset = "xero"\nscopes = ["offline_access"]\n[jobs]')


def test_preset_fills_in_the_provider(folder):
    """Arlo needs a platform and a client id, nothing else."""
    arlo = folder.load(f'{HEAD}preset = "arlo"\nplatform = "acme"').integrations["i"]
    assert arlo.authorize_url == "https://acme.arlo.co/oauth/connect/authorize"
    assert arlo.token_url == "https://acme.arlo.co/oauth/connect/token"
    assert arlo.revoke_url == "https://acme.arlo.co/oauth/connect/revocation"
    assert arlo.api_base == "https://acme.arlo.co/api/2012-02-01/auth/resources/"
    assert arlo.api_origins == ("https://acme.arlo.co",)
    assert arlo.rate_limit == (RateLimit(300, 60.0, "integration"),)
    assert arlo.headers == {"Accept": "application/xml"}
    assert arlo.authorize_params == {"login_hint": "tenant:acme"}
    assert arlo.refresh_sends_redirect_uri
    assert "offline_access" in arlo.scopes


def test_preset_gives_way_to_the_file(folder):
    """What is given wins; tables are joined."""
    text = f'{HEAD}preset = "arlo"\nplatform = "acme"\ntoken_url = "https://x.example/t"\nheaders = {{ A = "b" }}'
    arlo = folder.load(f'{text}\nscopes = ["read"]').integrations["i"]
    assert (arlo.token_url, arlo.scopes) == ("https://x.example/t", ("read",))
    assert arlo.headers == {"Accept": "application/xml", "A": "b"}
