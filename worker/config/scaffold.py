"""What `worker jobs new` writes, as text: a job that works as it stands against the answers in its test."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.errors import UsageFault

if TYPE_CHECKING:
    from worker.config.model import Config

_JOB: Final = '''\
"""{title}, changed since the last run."""

from worker import Context, job


@job(scopes=[])  # the scopes without which it cannot work, as the provider spells them
def {name}(ctx: Context) -> None:
    """Copy {words} changed since the last run."""
    since = ctx.cursor.get("changed", ctx.since or "1970-01-01T00:00:00Z")
    # Outside of a backfill ctx.until is None, and what is None is not sent.
    for page in ctx.pages("{name}", params={{"since": since, "until": ctx.until}}):
        ctx.emit("{name}", page.rows, key="id")
        ctx.checkpoint(changed=page.last("updated_at"))
'''

_TEST: Final = '''\
"""Tests of {name}.py, without a network: pytest {test}"""

from {name} import {name}

from worker.testing import run_job

ROWS = [{{"id": 1, "updated_at": "2026-01-01T00:00:00Z"}}, {{"id": 2, "updated_at": "2026-01-02T00:00:00Z"}}]


def test_{name}_are_copied():
    """Rows and place, as the API has answered."""
    result = run_job({name}, responses={{"/{name}": ROWS}})
    assert result.rows["{name}"] == ROWS
    assert result.cursor == {{"changed": "2026-01-02T00:00:00Z"}}


def test_{name}_go_on_where_they_stood():
    """The next run asks for what has changed since."""
    result = run_job({name}, responses={{"/{name}": []}}, cursor={{"changed": "2026-01-02T00:00:00Z"}})
    assert result.urls == ["https://api.test/{name}?since=2026-01-02T00%3A00%3A00Z"]


def test_{name}_can_be_backfilled():
    """Between two moments: worker jobs backfill {job} --from 2025-01-01 --to 2025-02-01"""
    result = run_job({name}, responses={{"/{name}": ROWS}}, backfill=("2025-01-01", "2025-02-01"))
    assert result.urls == ["https://api.test/{name}?since=2025-01-01T00%3A00%3A00Z&until=2025-02-01T00%3A00%3A00Z"]
'''


@dataclass(frozen=True)
class Scaffold:
    """A new job: its files, and what the config needs."""

    #: Path -> text.
    files: dict[Path, str]
    #: `[jobs.NAME]` as TOML.
    toml: str


def scaffold(job: str, folder: Path, config: Config, integration: str) -> Scaffold:
    """A new job in a folder. Raises UsageFault for a name that cannot be one."""
    name = _module_name(job)
    if name in config.jobs or job in config.jobs:
        uses = config.jobs[job if job in config.jobs else name].uses
        if uses != f"{name}.{name}":
            raise UsageFault(f"[jobs.{job}] is in {config.path} already, and uses {uses}", hint="choose another name")
    words = name.replace("_", " ")
    test = folder / f"test_{name}.py"
    names = {
        "name": name,
        "job": job,
        "words": words,
        "title": words.capitalize(),
        "test": f"{folder.name}/{test.name}",
    }
    lines = [f"[jobs.{job}]", f'uses = "{name}.{name}"', f'integration = "{integration}"', 'every = "15m"']
    if config.sinks:
        lines.append(f'sink = "{next(iter(config.sinks))}"')
    files = {folder / f"{name}.py": _JOB.format(**names), test: _TEST.format(**names)}
    return Scaffold(files, "\n".join(lines))


def _module_name(job: str) -> str:
    """The file's and the function's name. Raises UsageFault when Python, pytest or another module wants it."""
    name = job.replace("-", "_")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", job):
        raise UsageFault(
            f"{job!r} is no name for a job: letters, digits, - and _, beginning with a letter", hint=_advice(job)
        )
    reason = ""
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        reason = "is a word of Python's own"
    elif name.startswith("test_") or name == "conftest":
        reason = "is what pytest calls its files"
    elif name == "worker" or name in sys.stdlib_module_names or _installed(name):
        reason = "is a module that is installed, which its file would hide in tests"
    if reason:
        raise UsageFault(f"a job cannot be called {job}: {name} {reason}", hint=f"worker jobs new sync-{job}")
    return name


def _installed(name: str) -> bool:
    """Whether a module of that name is found by who imports it; the current folder does not count."""
    elsewhere = [place for place in sys.path if place and Path(place) != Path.cwd()]
    return PathFinder.find_spec(name, elsewhere) is not None


def _advice(job: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", job).strip("-_0123456789")
    return f"worker jobs new {plain or 'invoices'}"
