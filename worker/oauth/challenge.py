"""WWW-Authenticate, read strictly by RFC 9110 section 11.

One comma separates two things here: challenges, and the parameters of a challenge. What stands after a comma is a
parameter if a token and an `=` begin it, and a new challenge otherwise; empty list elements count for nothing. A
scheme that is followed by a comma instead of a space takes no parameters, and neither does one with a token68.

A field value ends at its first fault. The challenges before it are kept; a challenge that contains the fault is not,
since half a challenge may say the opposite of the whole one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A fold inside a field value is read as a space (RFC 9112 section 5.2); a lone LF folds too, as HTTP libraries let it.
_FOLD = re.compile(r"\r?\n[ \t]+")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN68 = re.compile(r"[0-9A-Za-z\-._~+/]+=*")
#: quoted-string with obs-text; characters above Latin-1 stand for text that somebody has decoded before us.
_QUOTED = re.compile(r'"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\t \x21-\x7e\x80-\U0010ffff])*)"')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
#: The `=` of a parameter with the blanks that are tolerated around it.
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
#: What may follow a complete element: the end, or a comma.
_STOP = re.compile(r"[ \t]*(?:,|\Z)")
_GAP = re.compile(r"[ \t,]*")
_SPACES = re.compile(r" +")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a server offers, and often its reason for not letting us in."""

    #: The auth-scheme in lower case, e.g. `bearer`.
    scheme: str
    #: Parameters, names in lower case, values with quotes and escapes taken off.
    parameters: dict[str, str] = field(default_factory=dict)
    #: The token68 form of credentials (`Negotiate YII…`); excludes parameters.
    token68: str | None = None


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """The challenges of one answer's WWW-Authenticate field values, in order (RFC 9110 section 11.6.1).

    Each value is the Latin-1 view of the bytes received and may hold several challenges. Never raises: a faulty value
    gives the challenges before its fault, and the other values are read all the same.
    """
    found: list[Challenge] = []
    for value in [values] if isinstance(values, str) else values:
        found.extend(_FieldValue(_FOLD.sub(" ", value).strip(" \t")).challenges())
    return found


class _Fault(ValueError):
    """The text breaks the grammar here."""


class _FieldValue:
    """A cursor over one field value."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def challenges(self) -> list[Challenge]:
        """All challenges, or those before the fault."""
        complete: list[Challenge] = []
        try:
            self._take(_GAP)
            while self._at < len(self._text):
                self._challenge(complete)
        except _Fault:
            pass
        return complete

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        """The text that `pattern` matches here, stepped over; None when it does not match."""
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match.group()

    def _need(self, pattern: re.Pattern[str]) -> str:
        taken = self._take(pattern)
        if taken is None:
            raise _Fault
        return taken

    def _challenge(self, complete: list[Challenge]) -> None:
        """Read one challenge and add it to `complete` unless it contains a fault."""
        scheme = self._need(_TOKEN).lower()
        if _STOP.match(self._text, self._at) and not self._text.startswith(" ", self._at):
            complete.append(Challenge(scheme))
            self._take(_GAP)
            return
        self._need(_SPACES)
        if self._text[self._at] not in ",\t" and (self._at_padded_token68() or not self._at_parameter()):
            token68 = self._need(_TOKEN68)
            self._need(_STOP)
            complete.append(Challenge(scheme, token68=token68))
        else:
            complete.append(Challenge(scheme, self._parameters()))
        self._take(_GAP)

    def _parameters(self) -> dict[str, str]:
        """The parameters from here to the next challenge, the end, or a fault of the next element's own."""
        if self._text[self._at] == "\t":
            # Blanks before the first list element are spaces only (`1*SP`), unless a comma follows them.
            self._need(_STOP)
        self._take(_GAP)
        parameters: dict[str, str] = {}
        while self._at < len(self._text) and self._at_parameter():
            name = self._need(_TOKEN).lower()
            self._need(_EQUALS)
            if name in parameters:
                raise _Fault  # RFC 9110 section 11.2: each name occurs once in a challenge
            parameters[name] = self._value()
            self._need(_STOP)
            self._take(_GAP)
        return parameters

    def _at_parameter(self) -> bool:
        """Whether a token and an `=` stand here, which makes it a parameter, be its value sound or not."""
        name = _TOKEN.match(self._text, self._at)
        return name is not None and _EQUALS.match(self._text, name.end()) is not None

    def _at_padded_token68(self) -> bool:
        """Whether the `=` here are the padding of a token68. Asked right after the scheme only: `Digest qop=`."""
        padded = _TOKEN68.match(self._text, self._at)
        return bool(padded and padded.group().endswith("=") and _STOP.match(self._text, padded.end()))

    def _value(self) -> str:
        quoted = _QUOTED.match(self._text, self._at)
        if quoted is None:
            return self._need(_TOKEN)
        self._at = quoted.end()
        return _ESCAPE.sub(r"\1", quoted.group(1))
