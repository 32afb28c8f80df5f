"""`[jobs.NAME]`: one function, on one schedule, for the accounts of one integration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from worker.config.kinds import BOOLEAN, CRON, FREE_TABLE, TIMEZONE, Kind, duration, list_of, text, whole_number
from worker.config.model import JobConfig
from worker.config.names import ACCOUNT_NAME, NAME
from worker.config.options import Option, Reading, Section
from worker.config.sections.resource import RESOURCE_LIST

if TYPE_CHECKING:
    from worker.config.faults import Spot


def _read_brake(value: object, spot: Spot) -> Any:
    right = '"10%", a number of rows such as 50, or "off"'
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        return spot.mistyped(value, right)
    if not re.fullmatch(r"((\d{1,2}(\.\d+)?|100)\s*%|\d{1,12}|off)", text.strip().lower()):
        return spot.refuse(f"{spot.shown(value)} does not fit; write {right}")
    return text.strip().lower()


_BRAKE = Kind('"10%" | number | "off"', _read_brake)
_OPTIONS = (
    Option(
        "uses",
        text(
            r"rest|[^\W\d]\w*\.[^\W\d]\w*",
            'MODULE.FUNCTION, for FUNCTION in MODULE.py in jobs_path, or "rest"',
            label='MODULE.FUNCTION | "rest"',
        ),
        'The function to run: MODULE.FUNCTION in jobs_path. "rest" needs no code: see resources.',
        example="arlo.registrations",
        required=True,
        aliases=("function", "job", "run", "use"),
    ),
    Option(
        "integration",
        NAME,
        "Whose accounts it runs for: a NAME of [integrations.NAME].",
        example="arlo",
        required=True,
    ),
    Option(
        "every",
        duration(1.0),
        "How often it runs for each account, at least 1s. Accounts are spread evenly over this time. Without every "
        "and cron it runs by hand only: worker jobs run NAME.",
        example="15m",
        aliases=("interval", "period"),
    ),
    Option(
        "cron",
        CRON,
        "Instead of every: when it runs, as in crontab(5): minute, hour, day of month, month, day of week (0 and 7 are "
        "Sunday).",
        example="0 6 * * mon-fri",
        alternative=True,
        aliases=("schedule",),
    ),
    Option("timezone", TIMEZONE, "What its cron line counts in. Without it: [worker] timezone.", example="UTC"),
    Option(
        "jitter",
        duration(0, 86400.0),
        "With cron: the accounts start spread over this time, each always at the same place in it.",
        default="0s",
        example="5m",
        alternative=True,
    ),
    Option("timeout", duration(1.0, 30 * 86400.0), "The longest a run may take.", default="1h"),
    Option(
        "retries",
        whole_number(0, 100),
        "How often a run that failed in passing is tried again before it counts as failed.",
        default=3,
        aliases=("max_retries", "attempts"),
    ),
    Option(
        "accounts",
        list_of(ACCOUNT_NAME, '["acme"]'),
        "Runs for these accounts only. Without it: for every account of the integration.",
        example=["acme"],
        aliases=("account",),
    ),
    Option(
        "sink",
        NAME,
        "Where its rows go: a NAME of [sinks.NAME]. Without it: the SQLite file data.db in state_dir.",
        example="local",
        aliases=("sinks",),
    ),
    Option(
        "params",
        FREE_TABLE,
        "Anything; the function finds it in ctx.params. No secrets: they belong in the encrypted store.",
        example={"since": "2026-01-01"},
        aliases=("parameters", "args", "options"),
    ),
    Option(
        "delete_brake",
        _BRAKE,
        "How many deletions of one run go without asking: a share of the account's rows of that table, a number of "
        "rows, or off. More are held until worker changes approve. A share never holds 20 rows or fewer, and is "
        "narrower for a job that usually deletes little. See docs/deletions.md.",
        default="10%",
        aliases=("brake", "max_deletions"),
    ),
    Option(
        "late_after",
        duration(0),
        "A success that is older than this is late: shown in worker status, told once. Without it: three times the "
        'interval, and the timeout. "0s": never.',
        example="6h",
        aliases=("freshness",),
    ),
    Option(
        "catch_up",
        BOOLEAN,
        "Whether a firing that was missed while nothing ran is made up for, once, at the next start.",
        default=True,
    ),
    Option(
        "resources",
        RESOURCE_LIST,
        'With uses = "rest": what to read, a [[jobs.NAME.resources]] for each collection.',
        alternative=True,
        aliases=("resource", "streams", "endpoints"),
    ),
)


def _code_or_resources(reading: Reading) -> None:
    if reading["uses"] == "rest":
        if not reading["resources"] and "resources" not in reading.faulty:
            reading.refuse("resources", 'missing; write [[jobs.NAME.resources]] with name = "…" and path = "…"')
        if reading["params"]:
            reading.doubt("params", 'has no effect with uses = "rest"; write params in [[jobs.NAME.resources]]')
    elif "resources" in reading.given and reading["uses"] is not None:
        reading.refuse("resources", 'belongs to uses = "rest"; remove it, or write that')


def _one_schedule(reading: Reading) -> None:
    if {"every", "cron"} <= reading.given:
        reading.refuse("cron", 'given beside "every"; a job has one schedule: keep one of the two')
    elif not {"every", "cron"} & reading.given:
        reading.spot.doubt('no schedule, so it runs by hand only; write every = "15m" or cron = "0 6 * * *"')
    if "jitter" in reading.given and "every" in reading.given and "cron" not in reading.given:
        reading.doubt("jitter", "has no effect with every: accounts are spread over the interval anyway; remove it")


def _somebody(reading: Reading) -> None:
    if reading["accounts"] == ():
        reading.refuse("accounts", "empty, so it would run for nobody; remove it to run for every account")


def _build(name: str, reading: Reading) -> JobConfig:
    filled = {"params": reading["params"] or {}, "resources": reading["resources"] or ()}
    return JobConfig(name=name, **{**reading.values, **filled})


JOBS = Section(
    "jobs",
    "named",
    "What runs when.",
    _OPTIONS,
    _build,
    rules=(_code_or_resources, _one_schedule, _somebody),
    names=NAME,
    example_name="arlo-registrations",
)
