"""`[integrations.NAME]`: the options of one OAuth client at one provider. What holds between them stands in
`integration_rules.py`.
"""

from __future__ import annotations

from worker.config.kinds import BOOLEAN, choice, duration, list_of, table_of_text, text, whole_number
from worker.config.kinds_network import HEADER_NAME, HEADERS, ORIGIN, RATE_LIMITS, REDIRECT_URI, url
from worker.config.names import NAME
from worker.config.options import Option, Section
from worker.config.preset_files import preset_names
from worker.config.refresh_rules import REFRESH_RULES
from worker.config.sections.integration_rules import RULES, build, with_preset

_AUTHORIZE_RESERVED = (
    "client_id", "client_secret", "response_type", "redirect_uri", "scope", "state", "nonce",
    "code_challenge", "code_challenge_method",
)  # fmt: skip
_TOKEN_RESERVED = (
    "grant_type", "code", "code_verifier", "refresh_token", "redirect_uri", "client_id", "client_secret",
)  # fmt: skip
#: RFC 6749 section 3.3 allows printable ASCII but the space, the quote and the backslash.
_SCOPE = text(r"[\x21\x23-\x5b\x5d-\x7e]+", "one scope an item, without spaces or quotes", label="scope")
_CODES = list_of(text(label="code"), '["some_error"]')

_CLIENT = (
    Option(
        "preset",
        choice(*preset_names()),
        "Fills in what is known of a provider; what is given here wins.",
        example="arlo",
        alternative=True,
        aliases=("provider",),
    ),
    Option(
        "platform",
        text(),
        "For presets whose addresses have the customer's name in them (Arlo: https://PLATFORM.arlo.co).",
        example="acme",
        alternative=True,
        aliases=("tenant", "subdomain"),
    ),
    Option("client_id", text(), "As the provider issued it.", example="my-client", required=True, aliases=("id",)),
    Option(
        "client_secret",
        text(),
        "Only if it is not kept in the encrypted store (worker secrets set NAME client_secret).",
        example="arlo.secret",
        secret=True,
        alternative=True,
        aliases=("secret",),
    ),
    Option(
        "client_auth",
        choice("basic", "post", "none"),
        "How the client proves itself to the token endpoint: HTTP Basic, in the form, or not at all (public client).",
        default="basic",
        aliases=("token_endpoint_auth_method", "auth_method"),
    ),
    Option(
        "scopes",
        list_of(_SCOPE, '["openid", "offline_access"]', separated=True),
        "What to ask the account's owner for. Many providers issue a refresh token only with offline_access.",
        default=[],
        example=["openid", "offline_access", "read"],
    ),
)

_ENDPOINTS = (
    Option(
        "issuer",
        url("https://auth.example.com"),
        "The authorization server, for discovery (OpenID Connect and RFC 8414). Endpoints given below win.",
        example="https://auth.example.com",
        aliases=("discovery_url", "authority"),
    ),
    Option(
        "authorize_url",
        url("https://auth.example.com/authorize"),
        "Where people consent.",
        example="https://auth.example.com/authorize",
        aliases=("authorization_url", "authorization_endpoint", "auth_url"),
    ),
    Option(
        "token_url",
        url("https://auth.example.com/token"),
        "Where tokens are fetched and refreshed. Needed unless issuer or preset is given.",
        example="https://auth.example.com/token",
        aliases=("token_endpoint", "token_uri"),
    ),
    Option(
        "revoke_url",
        url("https://auth.example.com/revoke"),
        "Where a grant is given back (RFC 7009).",
        example="https://auth.example.com/revoke",
        aliases=("revocation_url", "revocation_endpoint"),
    ),
    Option(
        "device_url",
        url("https://auth.example.com/device"),
        "Where the device flow begins (RFC 8628).",
        example="https://auth.example.com/device",
        aliases=("device_authorization_endpoint",),
    ),
    Option(
        "identity_url",
        url("https://auth.example.com/userinfo"),
        "Tells who consented, as JSON, when there is no ID token.",
        example="https://auth.example.com/userinfo",
        aliases=("userinfo_url", "userinfo_endpoint"),
    ),
    Option("identity_claim", text(), "The name in that answer that stays the same for a person.", default="sub"),
    Option(
        "redirect_uri",
        REDIRECT_URI,
        "As registered at the provider. Without it enrolment uses an address on 127.0.0.1.",
        example="https://worker.example.org/callback",
        aliases=("redirect_url", "callback_url"),
    ),
    Option(
        "allow_http",
        BOOLEAN,
        "Lets addresses be plain http. Without it only 127.0.0.1, ::1 and localhost may.",
        default=False,
        alternative=True,
        example=True,
        aliases=("insecure",),
    ),
)

_API = (
    Option(
        "api_base",
        url("https://api.example.com/v1/"),
        "What relative addresses in a job count from.",
        example="https://api.example.com/v1/",
        aliases=("api_url", "base_url"),
    ),
    Option(
        "api_origins",
        list_of(ORIGIN, '["https://api.example.com"]'),
        "Where the token may go; it is never sent anywhere else. Without it: to the origin of api_base.",
        example=["https://api.example.com"],
        aliases=("origins", "allowed_hosts"),
    ),
    Option(
        "token_header",
        HEADER_NAME,
        "For APIs that want the bare access token in a header of their own.",
        default="Authorization",
        example="X-Access-Token",
    ),
    Option(
        "rate_limit",
        RATE_LIMITS,
        'The most that is asked of the API, by all accounts together or, with "300/minute per account", by each; with '
        '"per host", of each host. Several hold together: ["300/minute", "10/second per account"].',
        default=[],
        example="300/minute",
        aliases=("ratelimit", "limit"),
    ),
    Option(
        "idempotency_header",
        HEADER_NAME,
        "A request with this header may be sent again after a failure, whatever its method: the API knows it again.",
        default="Idempotency-Key",
        example="X-Request-Id",
    ),
    Option(
        "headers",
        HEADERS,
        "Sent with every request to the API.",
        default={},
        example={"Accept": "application/json"},
    ),
    Option(
        "refresh_when",
        REFRESH_RULES,
        "Answers that mean the token was rejected although no challenge says so: a status, and text that one header "
        'line ("name: value") or the body contains, in any case. A status of success needs such a text.',
        default=[],
        example=[{"status": 403, "body": "token expired"}],
    ),
    Option("connect_timeout", duration(0.1, 600.0), "How long reaching a host may take.", default="10s"),
    Option(
        "read_timeout",
        duration(0.1, 3600.0),
        "How long a host may be silent: the authorization server, and the API where a job names no timeout.",
        default="30s",
        aliases=("timeout",),
    ),
    Option(
        "largest_answer",
        whole_number(1, 4096),
        "MiB that an answer of the API may have, unpacked, unless the job streams it. JSON takes several times as much "
        "in memory.",
        default=32,
    ),
)

_QUIRKS = (
    Option(
        "scope_separator",
        choice(" ", ","),
        "What stands between scopes. Without it: a space when asking, a space or a comma when reading the answer.",
        example=",",
    ),
    Option(
        "scope_parameter",
        text(r"[A-Za-z0-9_.-]+", 'the name of a parameter, e.g. "user_scope"', label="text"),
        "The parameter of the authorization URL that the scopes go into.",
        default="scope",
        example="user_scope",
    ),
    Option(
        "unlisted_scopes",
        list_of(_SCOPE, '["offline_access"]', separated=True),
        "Scopes that the provider grants without listing them in its answer: if asked for, they count as granted.",
        default=[],
        example=["offline_access"],
    ),
    Option(
        "authorize_params",
        table_of_text(_AUTHORIZE_RESERVED),
        "More parameters for the authorization URL.",
        default={},
        example={"access_type": "offline"},
        aliases=("extra_params", "authorization_params"),
    ),
    Option(
        "token_params",
        table_of_text(_TOKEN_RESERVED),
        "More parameters for the token endpoint.",
        default={},
        example={"audience": "https://api.example.com"},
    ),
    Option(
        "refresh_sends_redirect_uri",
        BOOLEAN,
        "Whether a refresh repeats the redirect URI, which the standard does not ask for.",
        default=False,
    ),
    Option(
        "dead_errors",
        _CODES,
        "Further error codes of the token endpoint, or phrases of its descriptions, that mean: the grant is dead, ask "
        "the owner.",
        default=[],
        example=["token_revoked"],
    ),
    Option(
        "transient_errors",
        _CODES,
        "Further codes, or phrases, that mean: try again later.",
        default=[],
        example=["rate_limited"],
    ),
    Option(
        "client_errors",
        _CODES,
        "Further codes, or phrases, that mean: the client is at fault or shut out, the grant is fine.",
        default=[],
        example=["app_disabled"],
    ),
    Option(
        "expires_in_unit",
        choice("seconds", "milliseconds", "minutes"),
        "What the provider counts a token's lifetime in.",
        default="seconds",
    ),
    Option(
        "default_expires_in",
        duration(1.0),
        "A token's lifetime where the provider names none. Without it such a token is used until it is rejected.",
        example="1h",
    ),
    Option(
        "extending_codes",
        _CODES,
        "Codes of a refresh that brings no token because it extends the old one.",
        default=[],
        example=["0000"],
    ),
    Option(
        "token_path",
        text(r"[^.\s]+(\.[^.\s]+)*", 'names joined by dots, e.g. "data"', label="dotted names"),
        "Where in the token endpoint's JSON the tokens are, when not at the top.",
        example="data",
    ),
    Option(
        "token_names",
        table_of_text(),
        "What the provider calls the fields of the token endpoint's answer, where it is not the standard's name.",
        default={},
        example={"access_token": "accessToken"},
    ),
)

_TROUBLE = (
    Option(
        "alert_after",
        duration(60.0, 30 * 86400.0),
        "Refreshes that have failed for so long, for whatever passing reason, are told of; and again every day.",
        default="6h",
    ),
    Option(
        "mass_refusal_accounts",
        whole_number(0, 1_000_000),
        "From so many accounts on that lose their grant at the same time, the provider is asked again before their "
        "owners are: one incident, and canary accounts that are tried again. 0 flags each at once.",
        default=5,
    ),
    Option(
        "mass_refusal_percent",
        whole_number(1, 100),
        "… if they are at least this part of the integration's working accounts.",
        default=20,
    ),
    Option(
        "mass_refusal_within",
        duration(1.0, 86400.0),
        'What "at the same time" means.',
        default="10m",
    ),
    Option(
        "mass_refusal_hold",
        duration(15.0, 86400.0),
        "How long canaries are tried before the refusals count: five of them, ever more rarely.",
        default="30m",
    ),
)

INTEGRATIONS = Section(
    "integrations",
    "named",
    "One OAuth client at one provider.",
    (*_CLIENT, *_ENDPOINTS, *_API, *_QUIRKS, *_TROUBLE),
    build,
    rules=RULES,
    prepare=with_preset,
    names=NAME,
    example_name="example",
)
