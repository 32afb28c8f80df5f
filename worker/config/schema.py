"""The schema: every section, in the order in which files have them. Reading, checking, the example file and the
reference all go through this list.
"""

from __future__ import annotations

from worker.config.sections.integration import INTEGRATIONS
from worker.config.sections.job import JOBS
from worker.config.sections.keyring import KEYRING
from worker.config.sections.notify import NOTIFY
from worker.config.sections.resource import RESOURCES
from worker.config.sections.sink import SINKS
from worker.config.sections.store import STORE
from worker.config.sections.web import WEB
from worker.config.sections.worker import WORKER

SECTIONS = (WORKER, STORE, KEYRING, INTEGRATIONS, JOBS, SINKS, WEB, NOTIFY)
#: With the tables inside of others, for whoever explains them all.
EXPLAINED = (WORKER, STORE, KEYRING, INTEGRATIONS, JOBS, RESOURCES, SINKS, WEB, NOTIFY)

#: How a section's heading is written.
HEADINGS = {
    section.name: {"table": f"[{section.name}]", "named": f"[{section.name}.NAME]", "list": f"[[{section.name}]]"}[
        section.shape
    ]
    for section in EXPLAINED
}


def homes_of_options() -> dict[str, str]:
    """Every key -> the heading it belongs under, for keys that belong under one heading only."""
    homes: dict[str, set[str]] = {}
    for section in EXPLAINED:
        for key in section.keys:
            homes.setdefault(key, set()).add(HEADINGS[section.name])
    return {key: next(iter(headings)) for key, headings in homes.items() if len(headings) == 1}
