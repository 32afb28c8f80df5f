"""Kinds of values: what the schema can say an option is. A kind reads a TOML value into the value the program uses,
or complains at its Spot and answers UNREAD. The kinds for addresses are in `kinds_network.py`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.config.durations import DurationFault, format_duration, parse_duration, units_for
from worker.config.faults import UNREAD, Spot, nearest
from worker.config.paths import normal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Kind:
    """A type of option."""

    #: For the documentation: `duration`, `list of text`.
    label: str
    #: TOML value to program value; UNREAD after a complaint.
    read: Callable[[object, Spot], Any]


def text(pattern: str = "", right: str = "", *, label: str = "text") -> Kind:
    """Text that is not empty; `right` says what fits when `pattern` does not match all of it."""

    def read(value: object, spot: Spot) -> Any:
        if not isinstance(value, str):
            return spot.mistyped(value, "it in quotes")
        if not value.strip():
            return spot.refuse(f"empty; write {right}" if right else "empty")
        if not value.isprintable():
            return spot.refuse("holds a line break or another control character; write one line of text")
        if pattern and not re.fullmatch(pattern, value):
            return spot.refuse(f"{spot.shown(value)} does not fit; write {right}")
        return value

    return Kind(label, read)


def choice(*allowed: str, later: str = "") -> Kind:
    """One of a few words. `later` is a note for the documentation on what is not there yet."""
    options = " | ".join(f'"{word}"' for word in allowed)

    def read(value: object, spot: Spot) -> Any:
        if not isinstance(value, str):
            return spot.mistyped(value, f"one of {options}")
        if value not in allowed:
            match = nearest(value, allowed)
            mend = f'did you mean "{match}"?' if match else f"write one of {options}"
            return spot.refuse(f"{spot.shown(value)} is not known; {mend}")
        return value

    return Kind(options + later, read)


def whole_number(lowest: int, highest: int) -> Kind:
    """A whole number within bounds."""
    right = f"a whole number from {lowest} to {highest}"

    def read(value: object, spot: Spot) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            return spot.mistyped(value, right)
        if not lowest <= value <= highest:
            return spot.refuse(f"{spot.shown(value)} is out of bounds; write {right}")
        return value

    return Kind(right, read)


def _read_boolean(value: object, spot: Spot) -> Any:
    return value if isinstance(value, bool) else spot.mistyped(value, "true or false, without quotes")


BOOLEAN = Kind("true | false", _read_boolean)


def duration(lowest: float, highest: float = 3650 * 86400.0) -> Kind:
    """A length of time such as `15m`, read into seconds (float)."""

    def read(value: object, spot: Spot) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return spot.refuse(f"{spot.shown(value)} has no unit; {units_for(spot.shown(value))}")
        if not isinstance(value, str):
            return spot.mistyped(value, 'a duration such as "15m"')
        try:
            seconds = parse_duration(value)
        except DurationFault as fault:
            return spot.refuse(f"{spot.shown(value)} {fault}")
        if not lowest <= seconds <= highest:
            bounds = f"{format_duration(lowest)} to {format_duration(highest)}"
            return spot.refuse(f"{spot.shown(value)} is out of bounds; write {bounds}")
        return seconds

    return Kind("duration", read)


def list_of(item: Kind, example: str, *, separated: bool = False) -> Kind:
    """A list, read into a tuple. `separated`: suggest splitting a string at its spaces, as scopes often come."""

    def read(value: object, spot: Spot) -> Any:
        if isinstance(value, str):
            words = value.split() if separated else [value]
            right = ", ".join(f'"{word}"' for word in words) if 0 < len(words) <= 12 and len(value) < 200 else ""  # noqa: PLR2004 - fits on a line
            right = f"[{right}]" if right and not spot.secret and '"' not in value and value.isprintable() else example
            return spot.refuse(f"a string; write a list: {right}")
        if not isinstance(value, list):
            return spot.mistyped(value, f"a list such as {example}")
        items = [item.read(element, spot.item(number)) for number, element in enumerate(value, start=1)]
        if any(element is UNREAD for element in items):
            return UNREAD
        twice = next((number for number, element in enumerate(items, start=1) if element in items[: number - 1]), None)
        if twice is not None:
            return spot.item(twice).refuse(f"{spot.shown(items[twice - 1])} is there already; remove one of the two")
        return tuple(items)

    return Kind(f"list of {item.label}", read)


def table_of_text(reserved: Sequence[str] = (), reason: str = "the worker sets it itself") -> Kind:
    """A table of text by name; names in `reserved` are refused."""

    def read(value: object, spot: Spot) -> Any:
        if not isinstance(value, dict):
            return spot.mistyped(value, 'a table such as { name = "value" }')
        clean: dict[str, str] = {}
        for name, content in value.items():
            place = spot.inside(name)
            if name.lower() in reserved:
                place.refuse(f"{reason}; remove it")
            elif not isinstance(content, str):
                place.mistyped(content, "it in quotes")
            elif not name.strip() or not (name + content).isprintable():
                place.refuse("empty name, line break or control character; write one line of text")
            else:
                clean[name] = content
        return clean if len(clean) == len(value) else UNREAD

    return Kind("table of text", read)


#: Levels of tables and lists inside `params`; nobody writes more by hand.
_DEEPEST = 32


def _read_free_table(value: object, spot: Spot) -> Any:
    if not isinstance(value, dict):
        return spot.mistyped(value, 'a table such as { name = "value" }')
    return _json_value(value, spot, _DEEPEST)


def _json_value(value: object, spot: Spot, depth: int) -> Any:
    """The value as JSON has it: dates become text, tables and lists are copied."""
    if depth < 0:
        return spot.refuse(f"nested more than {_DEEPEST} levels deep; write it flatter")
    if isinstance(value, dict):
        clean = {name: _json_value(content, spot.inside(name), depth - 1) for name, content in value.items()}
        return UNREAD if any(content is UNREAD for content in clean.values()) else clean
    if isinstance(value, list):
        items = [_json_value(content, spot.item(number), depth - 1) for number, content in enumerate(value, start=1)]
        return UNREAD if any(content is UNREAD for content in items) else items
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return spot.refuse("inf and nan have no place in JSON; write a number")
    return value


FREE_TABLE = Kind("table", _read_free_table)


def _read_path(value: object, spot: Spot) -> Any:
    if not isinstance(value, str):
        return spot.mistyped(value, "a path in quotes")
    if not value.strip() or not value.isprintable():
        return spot.refuse("empty or with a control character; write a path, relative to this file or absolute")
    if value.startswith("~"):
        return spot.refuse(f'{spot.shown(value)}: "~" is not expanded; write the whole path')
    return normal(spot.base / value)


PATH = Kind("path", _read_path)


def _read_timezone(value: object, spot: Spot) -> Any:
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415 - costs start-up time

    right = 'a name from the IANA database such as "UTC" or "Europe/Berlin"'
    if not isinstance(value, str):
        return spot.mistyped(value, right)
    if value == "UTC":
        return value
    try:
        ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        zones = {zone.lower(): zone for zone in available_timezones()}
        match = zones.get(nearest(value, zones) or "")
        mend = f'did you mean "{match}"?' if match else f"write {right}"
        return spot.refuse(f"{spot.shown(value)} is no time zone; {mend}")
    return value


TIMEZONE = Kind("time zone", _read_timezone)


def _read_cron(value: object, spot: Spot) -> Any:
    from worker.config.cron import CronFault, parse_cron  # noqa: PLC0415 - costs start-up time, needed by few

    if not isinstance(value, str):
        return spot.mistyped(value, 'five fields such as "0 6 * * mon-fri"')
    try:
        parse_cron(value)
    except CronFault as fault:
        return spot.refuse(f"{spot.shown(value)}: {fault}")
    return " ".join(value.split())


CRON = Kind("cron line", _read_cron)


def _read_command(value: object, spot: Spot) -> Any:
    import shlex  # noqa: PLC0415 - needed by few

    if isinstance(value, list):
        if value and all(isinstance(word, str) and word and "\0" not in word for word in value):
            return tuple(value)
        return spot.refuse('not a list of words; write ["command", "argument"]')
    if not isinstance(value, str):
        return spot.mistyped(value, 'a command such as "pass show worker"')
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        return spot.refuse(f"cannot be split into words ({str(error).lower()}); close the quote")
    if not words or not words[0] or "\0" in value:
        return spot.refuse('empty; write a command such as "pass show worker"')
    return words


#: Run without a shell: a string is split into words as a shell would, a list is taken as it stands.
COMMAND = Kind("command (text or list of words, run without a shell)", _read_command)
