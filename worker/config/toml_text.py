"""Values as TOML source text, for generated files and messages."""

from __future__ import annotations

import json
import re

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(value: object) -> str:
    """One value on one line: `["read", "write"]`, `{ since = "2026" }`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(item) for item in value)}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{to_toml_key(key)} = {to_toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    # JSON's escapes are TOML's, as long as no character outside the basic plane is spelled as a surrogate pair.
    return json.dumps(str(value), ensure_ascii=False)


def to_toml_key(key: str) -> str:
    """A key, quoted where it must be."""
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
