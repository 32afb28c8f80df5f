"""What holds between sections: that names refer to something, and that no two things write to one file."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worker.config.faults import quoted, suggestion
from worker.config.store_url import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.config.faults import Faults
    from worker.config.options import Reading, Readings


#: Names in one message; an installation may have hundreds.
_LISTED = 8


def check_references(readings: Readings, faults: Faults) -> None:
    """Note every fault between sections. Sections with faults of their own still count as existing."""
    for job in readings["jobs"].values():
        _refers(job, "integration", readings["integrations"])
        _refers(job, "sink", readings["sinks"])
        _takes_deletions(job, readings["sinks"])
        if job["timezone"] is None and "timezone" not in job.faulty:
            job.values["timezone"] = readings["worker"][""]["timezone"]
    _one_file_each(readings)
    _name_routes(readings)
    if not readings["integrations"]:
        faults.warnings.append(("integrations", "none yet, so there is nothing to enrol; write [integrations.NAME]"))


def _name_routes(readings: Readings) -> None:
    """Every route gets a name that stays the same when the others change: what was told is remembered by it."""
    taken: set[str] = set()
    routes = list(readings["notify"].values())
    for route in sorted(routes, key=lambda one: one["name"] is None):
        given = route["name"]
        name = given or _where(route)
        if given is None:
            alike = (f"{name} {number}" if number > 1 else name for number in range(1, len(routes) + 2))
            route.values["name"] = name = next(one for one in alike if one not in taken)
        elif name in taken:
            route.refuse("name", f"another [[notify]] is called {quoted(name)}, too; write another one")
        taken.add(name)
        for integration in route["integrations"] or ():
            if integration not in readings["integrations"]:
                mend = suggestion(integration, readings["integrations"])
                route.refuse("integrations", f'"{integration}" does not exist{mend or "; remove it"}')


def _where(route: Reading) -> str:
    """In a word where a route leads; never with anything of a URL that may be secret."""
    if route["webhook"] is not None:
        return urlsplit(route["webhook"]).hostname or "webhook"
    if route["command"]:
        return str(route["command"][0]).rpartition("/")[2]
    source = route["url"]
    return "url" if source is None or source.literal is None else source.literal.reveal().partition("://")[0].lower()


def _refers(job: Reading, option: str, known: Mapping[str, object]) -> None:
    name = job[option]
    if name is None or name in known:
        return
    mend = suggestion(name, known) or f"; write [{option}s.{name}], or one of: {_listed(known)}"
    job.refuse(option, f'"{name}" does not exist{mend}')


def _takes_deletions(job: Reading, sinks: Mapping[str, Reading]) -> None:
    sink = sinks.get(job["sink"] or "")
    if sink is None or sink["type"] != "dlt":
        return
    for number, resource in enumerate(job["resources"] or (), start=1):
        if resource.deletions:
            spot = job.spot.inside("resources").item(number).inside("deletions")
            spot.refuse("a sink of type dlt takes no rows away; remove it")


def _listed(known: Mapping[str, object]) -> str:
    names = [name if name.isprintable() else quoted(name) for name in known]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}" if names else "none yet"


def _one_file_each(readings: Readings) -> None:
    """Two sinks, or a sink and the store, in one file would hold up each other's transactions."""
    taken: dict[Path, str] = {}
    store = readings["store"][""]["url"]
    if store is not None and store.literal is not None:
        path = sqlite_path(store.literal.reveal())
        if path is not None:
            taken[path] = "store.url"
    for sink in readings["sinks"].values():
        path = sink["path"]
        if path is None:
            continue
        if path in taken:
            sink.refuse("path", f"is that of {taken[path]}, too; write another one")
        taken.setdefault(path, f"{sink.spot.place}.path")
