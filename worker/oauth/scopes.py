"""Scopes: what was asked for, what was granted, and the difference.

RFC 6749 section 3.3 separates them by spaces; in the wild commas and JSON lists are as common. A missing scope in a
token answer means "as requested" (section 5.1), which is not the same as an empty one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class ScopeDifference:
    """How a grant differs from the request, each in the order in which it was named."""

    #: Requested and not granted: jobs that need them must be parked.
    missing: tuple[str, ...]
    #: Granted without having been requested.
    extra: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra)


def compare(requested: Iterable[str], granted: Iterable[str] | None) -> ScopeDifference:
    """Requested against granted scopes. `granted` None is the answer that names none: as requested."""
    asked = tuple(dict.fromkeys(requested))
    given = asked if granted is None else tuple(dict.fromkeys(granted))
    return ScopeDifference(
        missing=tuple(scope for scope in asked if scope not in given),
        extra=tuple(scope for scope in given if scope not in asked),
    )


def read_scopes(value: object, separator: str = "") -> tuple[str, ...] | None:
    """Scopes as providers write them: text or a list of texts or numbers. None when there is nothing readable.

    Without a `separator`, blanks separate; text without blanks is separated by commas.
    """
    if isinstance(value, str):
        return _split(value, separator)
    if isinstance(value, list):
        words = [str(item) for item in value if isinstance(item, str | int) and not isinstance(item, bool)]
        return tuple(dict.fromkeys(word for word in words if word))
    if isinstance(value, int) and not isinstance(value, bool):
        return (str(value),)
    return None


def _split(text: str, separator: str) -> tuple[str, ...]:
    if separator.strip():
        words = text.split(separator)
    elif len(text.split()) > 1:
        words = [word.strip(",") for word in text.split()]
    else:
        words = text.split(",")
    return tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
