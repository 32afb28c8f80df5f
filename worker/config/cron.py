"""Cron lines mean what crontab(5) makes of them, which is not what APScheduler 3 makes of the same text.

- days of the week count from Sunday (0 and 7); APScheduler counts 0 as Monday,
- when both day of month and day of week are restricted (neither begins with `*`), a day that fits *either* counts;
  APScheduler wants both.

So the line is read here into plain sets of numbers, and the trigger is built from those. What daylight saving does to
an hour that happens twice or not at all is the engine's to decide; `has_fixed_hour` tells it whether that matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import Any

#: crontab's shorthands. `@reboot` is none: a schedule must not depend on restarts.
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_SUNDAY_AGAIN = 7
_LONGEST_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_FIELD_COUNT = 5


class CronFault(ValueError):
    """The line is no cron line; the message says why and what to write."""


@dataclass(frozen=True)
class _Field:
    name: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    _Field("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


@dataclass(frozen=True)
class CronFields:
    """A cron line, read: the numbers each field allows. Days of the week are 0 (Sunday) to 6."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    #: A day counts when it fits day of month or day of week; otherwise it must fit both.
    either_day: bool
    #: The hour is named, so that a change of the clocks can skip or repeat it.
    fixed_hour: bool


def parse_cron(text: str) -> CronFields:
    """Read five fields or a nickname (`@daily`). Raises CronFault with all that is wrong in the line."""
    parts = NICKNAMES.get(text.strip().lower(), text).split()
    if len(parts) != _FIELD_COUNT:
        raise CronFault(_wrong_count(text, len(parts)))
    faults: list[str] = []
    sets = [_read_field(part, field, faults) for part, field in zip(parts, _FIELDS, strict=True)]
    if faults:
        raise CronFault("; ".join(faults))
    minutes, hours, days, months, weekdays = sets
    either_day = not parts[2].startswith("*") and not parts[4].startswith("*")
    if not either_day and all(min(days) > _LONGEST_MONTHS.get(month, 31) for month in months):
        raise CronFault("never comes: no such day in these months")
    weekdays = frozenset(day % _SUNDAY_AGAIN for day in weekdays)
    return CronFields(minutes, hours, days, months, weekdays, either_day, fixed_hour=not parts[1].startswith("*"))


def has_fixed_hour(text: str) -> bool:
    """Whether the line names hours (`30 2 * * *`) rather than leaving them open (`*/5 * * * *`, `0 */2 * * *`).

    The distinction cron itself makes at a change of the clocks: named hours are wanted once a day. Raises CronFault.
    """
    return parse_cron(text).fixed_hour


def cron_trigger(text: str, timezone: str | tzinfo) -> Any:
    """An APScheduler 3.11 trigger for the line: a CronTrigger, or an OrTrigger of two when `either_day` holds.

    Raises CronFault, and APScheduler's own error for an unknown time zone.
    """
    from apscheduler.triggers.combining import OrTrigger  # noqa: PLC0415 - costs start-up time, needed by few
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415 - likewise

    cron = parse_cron(text)
    common = {
        "second": "0",
        "minute": _spelled(cron.minutes, 60),
        "hour": _spelled(cron.hours, 24),
        "month": _spelled(cron.months, 12),
        "timezone": timezone,
    }
    days = _spelled(cron.days, 31)
    weekdays = _spelled({(day - 1) % 7 for day in cron.weekdays}, 7)
    if cron.either_day:
        return OrTrigger(
            [CronTrigger(day=days, day_of_week="*", **common), CronTrigger(day="*", day_of_week=weekdays, **common)]
        )
    return CronTrigger(day=days, day_of_week=weekdays, **common)


def _spelled(numbers: frozenset[int] | set[int], whole: int) -> str:
    return "*" if len(numbers) == whole else ",".join(str(number) for number in sorted(numbers))


def _wrong_count(text: str, count: int) -> str:
    if text.strip().startswith("@"):
        return f"no such shorthand; write one of {', '.join(NICKNAMES)}, or five fields"
    extra = " (there is no field for seconds or years)" if count > _FIELD_COUNT else ""
    return f"{count} field{'' if count == 1 else 's'}, not five{extra}; write minute hour day month weekday"


def _read_field(text: str, field: _Field, faults: list[str]) -> frozenset[int]:
    """The numbers a field allows, e.g. {0, 15, 30, 45} for `*/15`."""
    numbers: set[int] = set()
    for part in text.split(","):
        try:
            numbers.update(_read_part(part, field))
        except CronFault as fault:
            faults.append(f'{field.name} "{text[:40]}": {fault}')
    return frozenset(numbers)


def _read_part(text: str, field: _Field) -> range:
    span, slash, step_text = text.partition("/")
    step = _read_step(step_text, field) if slash else 1
    if span == "*":
        highest = 6 if field.highest == _SUNDAY_AGAIN else field.highest
        return range(field.lowest, highest + 1, step)
    first_text, dash, last_text = span.partition("-")
    first = _read_number(first_text, field)
    if not dash:
        if slash:
            raise CronFault(f'a step needs a range; write "{first}-{field.highest}/{step}"')
        return range(first, first + 1)
    last = _read_number(last_text, field)
    if last == 0 and first > 0 and field.names[:1] == ("sun",):
        last = _SUNDAY_AGAIN  # fri-sun: a week that ends on Sunday
    if first > last:
        raise CronFault(f'runs backwards; write "{first}-{field.highest},{field.lowest}-{last}"')
    return range(first, last + 1, step)


def _read_step(text: str, field: _Field) -> int:
    count = len(range(field.lowest, field.highest + 1))
    if not (text.isascii() and text.isdigit()) or int(text[:9]) == 0:
        raise CronFault('the step after "/" must be a number from 1')
    if int(text[:9]) >= count:
        raise CronFault(f"the step {text[:9]} is more than the field holds; steps start anew with every {count} values")
    return int(text)


def _read_number(text: str, field: _Field) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + (1 if field.lowest == 1 else 0)
    allowed = f"{field.lowest}-{field.highest}" + (f" or {field.names[0]}-{field.names[-1]}" if field.names else "")
    if not (text.isascii() and text.isdigit()):
        raise CronFault(f'"{text[:20]}" is not one of {allowed}')
    number = int(text[:9])
    if not field.lowest <= number <= field.highest:
        raise CronFault(f"{text[:9]} is outside {allowed}")
    return number
