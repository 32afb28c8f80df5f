"""What holds between the options of an integration: presets, plain http, where tokens come from and may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.config.kinds_network import insecure, origin_of
from worker.config.model import Integration
from worker.config.preset_files import Preset, filled, preset_names, read_preset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.config.faults import Spot
    from worker.config.options import Reading

_ADDRESSES = (
    "issuer", "authorize_url", "token_url", "revoke_url", "device_url", "identity_url", "redirect_uri", "api_base",
)  # fmt: skip
_TOKEN_FIELDS = frozenset({
    "access_token", "refresh_token", "token_type", "expires_in", "expires_at", "scope", "id_token",
    "refresh_token_expires_in",
})  # fmt: skip


def with_preset(table: Mapping[str, object], spot: Spot) -> Mapping[str, object]:
    """The table with what its preset knows filled in. What needs a platform that is not there stays open."""
    name = table.get("preset")
    if name not in preset_names():
        if "platform" in table and "preset" not in table:
            spot.inside("platform").doubt('has no effect without a preset; write preset = "…" or remove it')
        return table
    preset = read_preset(str(name))
    _check_platform(preset, table, spot)
    _check_scopes(preset, table, spot)
    platform = table.get("platform")
    whole = dict(table)
    for key, value in preset.values.items():
        content = filled(value, str(platform)) if preset.fits(platform) else value
        if "{platform}" in str(content):
            continue
        own = table.get(key)
        if key not in table:
            whole[key] = content
        elif isinstance(content, dict) and isinstance(own, dict):
            whole[key] = {**content, **own}
    return whole


def _check_platform(preset: Preset, table: Mapping[str, object], spot: Spot) -> None:
    platform, inside = table.get("platform"), spot.inside("platform")
    if not preset.platform:
        if platform is not None:
            inside.doubt(f'has no effect: preset "{preset.name}" needs none; remove it')
    elif platform is None:
        inside.refuse(f'missing, preset "{preset.name}" needs it; write platform = {preset.platform}')
    elif isinstance(platform, str) and platform.strip() and platform.isprintable() and not preset.fits(platform):
        inside.refuse(f"{spot.shown(platform)} does not fit; write {preset.platform}")


def _check_scopes(preset: Preset, table: Mapping[str, object], spot: Spot) -> None:
    """Scopes in the file replace the preset's, and with them the one that brings the refresh token."""
    scopes = table.get("scopes")
    for scope in preset.essential_scopes:
        if isinstance(scopes, list) and scope not in scopes:
            spot.inside("scopes").doubt(f'lacks "{scope}", without which there is no refresh token; add it')


def _tokens_come_from_somewhere(reading: Reading) -> None:
    if {"preset", "issuer"} & (reading.given | reading.faulty):
        return
    if reading.lacks("token_url"):
        reading.refuse("token_url", 'missing; write token_url = "https://…", or issuer = "https://…" to look it up')


def _addresses_are_safe(reading: Reading) -> None:
    if reading["allow_http"]:
        reading.doubt("allow_http", "codes, tokens and secrets may travel in the clear; for tests only")
        return
    places: list[tuple[str, str]] = [(name, reading[name]) for name in _ADDRESSES if reading[name] is not None]
    for name, address in places:
        if insecure(address):
            reading.refuse(name, f'plain http can be read on the way; write "https{address[4:]}", or allow_http = true')
    for number, origin in enumerate(reading["api_origins"] or (), start=1):
        if insecure(origin):
            reading.spot.inside("api_origins").item(number).refuse(
                f'plain http can be read on the way; write "https{origin[4:]}", or allow_http = true'
            )


def _tokens_go_somewhere(reading: Reading) -> None:
    if reading.faulty & {"api_base", "api_origins", "preset", "platform"} or "preset" in reading.given:
        return
    base, origins = reading["api_base"], reading["api_origins"]
    if base is None and not origins:
        reading.doubt("api_base", 'missing, so the token is sent nowhere; write api_base = "https://…"')
    elif base is not None and origins and origin_of(base) not in origins:
        reading.doubt("api_origins", f'lacks the origin of api_base; add "{origin_of(base)}"')


def _client_proves_itself(reading: Reading) -> None:
    if reading["client_auth"] == "none" and reading["client_secret"] is not None:
        reading.doubt("client_auth", '"none" sends no secret, though one is given; write "basic" or remove the secret')


def _token_has_its_header(reading: Reading) -> None:
    taken = next(
        (name for name in reading["headers"] or {} if name.lower() == str(reading["token_header"]).lower()), None
    )
    if taken is not None:
        reading.spot.inside("headers").inside(taken).refuse("the access token goes there (token_header); remove it")


def _token_names_are_known(reading: Reading) -> None:
    for name in reading["token_names"] or {}:
        if name not in _TOKEN_FIELDS:
            fields = ", ".join(sorted(_TOKEN_FIELDS))
            reading.spot.inside("token_names").inside(name).refuse(f"no field of a token answer; write one of {fields}")


def _codes_mean_one_thing(reading: Reading) -> None:
    seen: dict[str, str] = {}
    for name in ("dead_errors", "transient_errors", "client_errors", "extending_codes"):
        for code in reading[name] or ():
            if code in seen:
                reading.refuse(name, f'"{code}" is in {seen[code]}, too; keep one of the two')
            seen.setdefault(code, name)


RULES = (
    _tokens_come_from_somewhere,
    _addresses_are_safe,
    _tokens_go_somewhere,
    _client_proves_itself,
    _token_has_its_header,
    _token_names_are_known,
    _codes_mean_one_thing,
)


def build(name: str, reading: Reading) -> Integration:
    """The integration, with `api_origins` from `api_base` where only that is given."""
    values: dict[str, Any] = dict(reading.values)
    secret = values.pop("client_secret")
    base = values["api_base"]
    values["api_origins"] = values["api_origins"] or ((origin_of(base),) if base else ())
    values["token_path"] = tuple(values["token_path"].split(".")) if values["token_path"] else ()
    values["scope_separator"] = values["scope_separator"] or ""
    return Integration(name=name, secrets={"client_secret": secret} if secret else {}, **values)
