"""What is known of providers, as data: one TOML file for each in `presets/`, and no code of its own, so that a provider
the program has never heard of can be described in a config just as well. A new preset is a new file.

A file has `summary`; `docs`, the provider's own documentation; `[integration]`, options as they would stand in a
config, `{platform}` in them replaced by the integration's option of that name; `[platform]`, for providers whose
addresses have the customer's name in them; `essential_scopes`, without which there is no refresh token; and `[facts]`,
which nothing acts upon: what people should know of the grants, for `worker config show` and the documentation.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Beside this module: `importlib.resources` costs 40 ms of every start, for archives that this is never run from.
_FOLDER = Path(__file__).with_name("presets")
#: A DNS label, since that is where it ends up unless the file says otherwise.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#: `[facts]`, and what each is called where people read it.
FACTS: Mapping[str, str] = {
    "access_token": "Access token lives",
    "refresh_token": "Refresh token lives",
    "unused": "Unused refresh token dies after",
    "rotation": "Refresh token changes",
    "ends": "The grant ends when",
    "limits": "Limits",
}
_MEMBERS = {"summary", "docs", "integration", "platform", "essential_scopes", "facts"}


@dataclass(frozen=True)
class Preset:
    """Values for an integration's options, as they would stand in the file, and what to know beside them."""

    name: str
    summary: str
    #: Where the provider documents its OAuth.
    docs: str
    values: Mapping[str, object]
    #: What `platform` is for this provider; empty when it has none.
    platform: str = ""
    #: What a platform looks like, as a regular expression.
    platform_pattern: str = _LABEL
    essential_scopes: tuple[str, ...] = ()
    #: Keys of FACTS.
    facts: Mapping[str, str] = field(default_factory=dict)

    def fits(self, platform: object) -> bool:
        """Whether this can be a platform of the provider."""
        return isinstance(platform, str) and re.fullmatch(self.platform_pattern, platform) is not None


def preset_names() -> tuple[str, ...]:
    """The presets there are, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def read_preset(name: str) -> Preset:
    """The preset of a name that `preset_names` lists. Raises ValueError for a file that is not as described above."""
    text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    document: dict[str, Any] = tomllib.loads(text)
    platform, facts = document.get("platform", {}), document.get("facts", {})
    unknown = [*(document.keys() - _MEMBERS), *(facts.keys() - FACTS.keys()), *(platform.keys() - {"is", "pattern"})]
    missing = {"summary", "docs", "integration"} - document.keys()
    if unknown or missing:
        raise ValueError(f"preset {name}: unknown {sorted(unknown)}, missing {sorted(missing)}")
    return Preset(
        name=name,
        summary=document["summary"],
        docs=document["docs"],
        values=document["integration"],
        platform=platform.get("is", ""),
        platform_pattern=platform.get("pattern", _LABEL),
        essential_scopes=tuple(document.get("essential_scopes", ())),
        facts={key: facts[key] for key in FACTS if key in facts},
    )


def filled(value: object, platform: str) -> object:
    """A preset's value with the platform put in."""
    if isinstance(value, str):
        return value.replace("{platform}", platform)
    if isinstance(value, dict):
        return {key: filled(item, platform) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, platform) for item in value]
    return value
