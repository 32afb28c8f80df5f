"""Everything that can be turned: what is fixed at start, and what tests and drills may change while it runs.

Defaults are those of IdentityServer3, on which the server that is imitated appears to be built: one hour for an
access token, 300 s for a code, 30 days absolute for a refresh token that rotates and may be used once. PKCE and `iss`
are stricter than there, because the client under test always uses them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CALLBACK_ISS = ("right", "absent", "wrong")


class BadControl(ValueError):
    """A control call or setting that makes no sense; the message says which and what would be right."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What may change while the sandbox runs. Durations are seconds; new lifetimes hold for tokens issued from then."""

    access_ttl: float = 3600.0
    #: What `expires_in` claims; None tells the truth. More than `access_ttl` makes tokens die before the client knows.
    claimed_ttl: float | None = None
    refresh_ttl: float = 30 * 86400.0
    code_ttl: float = 300.0
    #: False: the same refresh token is good for every refresh and is repeated in each answer.
    refresh_rotation: bool = True
    #: A refresh token used twice kills its whole family: the successor and the access tokens too.
    kill_on_reuse: bool = True
    #: Seconds in which a spent refresh token gets the very answer that replaced it once more.
    grace: float = 0.0
    client_secret: str = field(default="sandbox-secret", repr=False)
    redirect_uris: tuple[str, ...] = ("http://127.0.0.1:8765/callback",)
    #: A registered loopback address matches with any port (RFC 8252 section 7.3); the rest stays exact.
    loopback_any_port: bool = True
    pkce_required: bool = True
    #: The `iss` parameter of the callback (RFC 9207): right, absent or wrong.
    callback_iss: str = "right"
    iss_advertised: bool = True
    #: A rejected access token is answered 403 instead of 401.
    use_403: bool = False
    #: Requests per `rate_window` for the whole platform; 0 is no limit. Token endpoints do not count.
    rate_limit: int = 300
    rate_window: float = 60.0
    #: Seconds before a token or API request is looked at, so that concurrent calls overlap.
    token_delay: float = 0.0
    api_delay: float = 0.0
    #: Seconds that the Date header is wrong.
    date_skew: float = 0.0
    #: Large API answers are compressed for clients that accept it.
    gzip: bool = False
    #: How likely something happens to the rows after an API answer, 0 to 1, and the most rows that get one moment then.
    churn: float = 0.0
    churn_crowd: int = 600
    #: Collection name to the one scope that it demands, instead of its own scope or `all_claims`.
    required_scopes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in fields(Settings):
            _check(one.name, getattr(self, one.name), one.default)


@dataclass(frozen=True, kw_only=True)
class SandboxConfig(Settings):
    """What is fixed at start, and the first values of everything else."""

    #: 0 takes a free port.
    port: int = 0
    platform: str = "demo"
    client_id: str = "sandbox-client"
    #: Rows in each collection.
    rows: int = 300
    #: The same seed and number of rows give the same data.
    seed: int = 1
    #: Guards `/_control/`; empty draws a random one.
    control_token: str = field(default="", repr=False)


def changed(settings: Settings, changes: Mapping[str, object]) -> Settings:
    """The settings with some values replaced; `BadControl` for an unknown name or a value of the wrong kind."""
    known = {one.name for one in fields(Settings)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise BadControl(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    values: dict[str, Any] = dict(changes)
    if isinstance(values.get("redirect_uris"), list):
        values["redirect_uris"] = tuple(values["redirect_uris"])
    return replace(settings, **values)


def shown(settings: Settings) -> dict[str, object]:
    """The settings for display: all but the client secret."""
    return {one.name: getattr(settings, one.name) for one in fields(Settings) if one.name != "client_secret"}


def _check(name: str, value: object, default: object) -> None:
    """Refuse a value whose kind is not that of the default: settings arrive as JSON from other processes."""
    if name == "callback_iss" and value not in CALLBACK_ISS:
        raise BadControl(f"{name}: {value!r} is none of {', '.join(CALLBACK_ISS)}")
    if name == "claimed_ttl" and value is None:
        return
    kind, fits = _expectation(name, value, default)
    if not fits:
        raise BadControl(f"{name}: {value!r} is no {kind}")


def _expectation(name: str, value: object, default: object) -> tuple[str, bool]:
    """What a setting wants, in words, and whether the value is that."""
    if name == "required_scopes":
        return "table of collection to scope", hasattr(value, "items")
    if isinstance(default, bool):
        return "true or false", isinstance(value, bool)
    if isinstance(default, str):
        return "text", isinstance(value, str)
    if isinstance(default, tuple):
        return "list of text", isinstance(value, tuple) and all(isinstance(one, str) for one in value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    signed = name == "date_skew"
    return "number" if signed else "number from 0 up", number and (signed or _not_negative(value))


def _not_negative(value: object) -> bool:
    return isinstance(value, int | float) and value >= 0
