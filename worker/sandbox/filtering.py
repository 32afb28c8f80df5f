"""The filter language: `(Status eq 'Active' AND LastModifiedDateTime gt datetime('2026-01-09T20:15:00.123Z'))`.

    filter     = and-part *( "OR" and-part )
    and-part   = factor *( "AND" factor )
    factor     = "(" filter ")" / comparison
    comparison = path ( "eq" / "ne" / "gt" / "ge" / "lt" / "le" ) literal
    path       = name *( "/" name )            ; through links to one resource
    literal    = number / "'text'" / true / false / datetime('…Z') / datetimeoffset('…')

Keywords are read in any case, '' inside a text is one quote, `datetime` takes at most three fractional digits.
A comparison with an absent element is false, except `ne`.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from worker.sandbox.values import Kind, read_ticks

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LENGTH = 4000
MAX_DEPTH = 30
#: Fractional digits that `datetime('…')` takes, per the provider's page on date formats.
FILTER_DIGITS = 3

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}

_TOKEN = re.compile(
    r"\s*(?:(?P<punctuation>[()])"
    r"|(?P<moment>datetime(?:offset)?\(\s*'[^']*'\s*\))"
    r"|(?P<text>'(?:[^']|'')*')"
    r"|(?P<number>-?\d+(?:\.\d+)?)(?![\w.])"
    r"|(?P<word>[A-Za-z_]\w*(?:/[A-Za-z_]\w*)*))",
    re.IGNORECASE | re.ASCII,
)


class BadQuery(ValueError):
    """A query parameter that the API answers with 400."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison; `literal` is int ticks for moments."""

    path: tuple[str, ...]
    operator: str
    literal: int | Decimal | str | bool
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Combination:
    """`AND` or `OR` of its parts."""

    every: bool
    parts: tuple[Comparison | Combination, ...]


Expression = Comparison | Combination


def parse_filter(text: str) -> Expression:
    """Read a filter; `BadQuery` names what is wrong and where."""
    if len(text) > MAX_LENGTH:
        raise BadQuery(f"The filter is longer than {MAX_LENGTH} characters.")
    reader = _Reader(_tokens(text))
    expression = reader.filter(0)
    if reader.peek()[0] != "end":
        raise BadQuery(f"Unexpected {reader.peek()[1]!r} in the filter.")
    return expression


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position = list[tuple[str, str]](), 0
    text = text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise BadQuery(f"Cannot read the filter at {text[position : position + 20]!r}.")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        position = found.end()
    return tokens


class _Reader:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._position = 0

    def peek(self) -> tuple[str, str]:
        return self._tokens[self._position] if self._position < len(self._tokens) else ("end", "end of the filter")

    def _next(self) -> tuple[str, str]:
        token = self.peek()
        self._position += 1
        return token

    def filter(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise BadQuery("The filter is nested too deeply.")
        return self._list("OR", lambda: self._list("AND", lambda: self._factor(depth)))

    def _list(self, word: str, part: Callable[[], Expression]) -> Expression:
        parts = [part()]
        while self.peek()[0] == "word" and self.peek()[1].upper() == word:
            self._next()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Combination(word == "AND", tuple(parts))

    def _factor(self, depth: int) -> Expression:
        kind, text = self._next()
        if (kind, text) == ("punctuation", "("):
            inside = self.filter(depth + 1)
            if self._next() != ("punctuation", ")"):
                raise BadQuery("A parenthesis is not closed in the filter.")
            return inside
        if kind != "word":
            raise BadQuery(f"Expected a field name in the filter, found {text!r}.")
        symbol = self._next()[1].lower()
        if symbol not in OPERATORS:
            raise BadQuery(f"Unknown operator {symbol!r} in the filter.")
        literal, kinds = _literal(*self._next())
        return Comparison(tuple(text.split("/")), symbol, literal, kinds)


def _literal(kind: str, text: str) -> tuple[int | Decimal | str | bool, tuple[Kind, ...]]:
    """The value, and the kinds of field that it compares with."""
    if kind == "number":
        return Decimal(text), ("number",)
    if kind == "text":
        return text[1:-1].replace("''", "'"), ("text",)
    if kind == "word" and text.lower() in {"true", "false"}:
        return text.lower() == "true", ("flag",)
    if kind != "moment":
        raise BadQuery(f"Expected a value in the filter, found {text!r}.")
    function, _, rest = text.partition("(")
    read = read_ticks(rest[:-1].strip().strip("'"), digits=FILTER_DIGITS)
    if read is None or (function.lower() == "datetime" and not read[1]):
        raise BadQuery(f"{text} is not a valid {function}: at most {FILTER_DIGITS} fraction digits, datetime with Z.")
    return read[0], ("instant",) if function.lower() == "datetime" else ("local", "instant")
