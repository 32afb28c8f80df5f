"""A configuration as JSON, for `worker config show`: what is in effect, defaults and presets included, and of a secret
only where it comes from. Whether something free-form (headers, params) is a secret is guessed from its name; guessing
too much costs nothing here.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.config.durations import format_duration
from worker.config.model import Config, Integration, NotifyConfig, RateLimit, StoreSection
from worker.config.preset_files import read_preset
from worker.config.secrets import SecretSource
from worker.redact import MASK, scrub_patterns

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Fields in seconds; shown as they are written.
_DURATIONS = frozenset({
    "drain_timeout", "history", "every", "jitter", "timeout", "connect_timeout", "read_timeout", "remind",
    "default_expires_in", "rotate_every",
})  # fmt: skip
_TELLING = re.compile(
    r"secret|token|passw|passphrase|credential|auth|key|cookie|session|sign|assertion|\bpin\b", re.IGNORECASE
)
#: Headers that are shown; any other may hold a provider's API key under whatever name.
_PLAIN_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent", "prefer", "api-version"})


def describe(config: Config) -> dict[str, Any]:
    """Nested dicts, lists, strings and numbers; no secret among them."""
    return {
        "path": str(config.path),
        "worker": _record(config.worker),
        "store": _store(config.store),
        "keyring": _source(config.keyring.source),
        "integrations": {name: _integration(item) for name, item in config.integrations.items()},
        "jobs": {name: _record(item, "name") for name, item in config.jobs.items()},
        "sinks": {name: _record(item, "name") for name, item in config.sinks.items()},
        "web": _record(config.web),
        "notify": [_notify(item) for item in config.notify],
    }


def _record(item: Any, *left_out: str) -> dict[str, Any]:
    return {
        field.name: _duration(getattr(item, field.name))
        if field.name in _DURATIONS
        else _plain(field.name, getattr(item, field.name))
        for field in fields(item)
        if field.name not in left_out
    }


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else format_duration(seconds)


def _plain(name: str, value: Any) -> Any:
    """A value as JSON; masked when its name tells."""
    if isinstance(value, SecretSource):
        return _source(value)
    if isinstance(value, RateLimit):
        return f"{value.count}/{format_duration(value.seconds)} per {value.per}"
    if isinstance(value, str | Path):
        return scrub_patterns(str(value))
    if isinstance(value, dict):
        return {key: _masked(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    return _record(value) if is_dataclass(value) else value


def _masked(name: str, value: Any) -> Any:
    return MASK if _TELLING.search(name) and value not in ("", None) else _plain(name, value)


def _source(source: SecretSource) -> dict[str, str]:
    """Where a secret comes from. Of a command only its name: its arguments may hold another secret."""
    if source.kind == "literal":
        return {"literal": MASK}
    return {source.kind: f"{source.argv[0]} …" if len(source.argv) > 1 else source.value}


def _store(store: StoreSection) -> dict[str, Any]:
    return {"url": _source(store.source) if store.source else scrub_patterns(store.url)}


def _integration(integration: Integration) -> dict[str, Any]:
    shown = _record(integration, "name", "secrets", "headers", "token_names")
    shown["headers"] = {
        name: value if name.lower() in _PLAIN_HEADERS else MASK for name, value in integration.headers.items()
    }
    shown["token_names"] = dict(integration.token_names)
    shown["client_secret"] = _client_secret(integration.secrets)
    if integration.preset is not None:
        preset = read_preset(integration.preset)
        shown["provider"] = {"docs": preset.docs, **preset.facts}
    return shown


def _client_secret(secrets: Mapping[str, SecretSource]) -> dict[str, str] | str:
    source = secrets.get("client_secret")
    return _source(source) if source else "kept in the encrypted store"


def _notify(item: NotifyConfig) -> dict[str, Any]:
    shown = _record(item, "command")
    shown["command"] = f"{item.command[0]} …" if item.command else None
    return shown
