from __future__ import annotations

import subprocess
import sys

import pytest

from worker import job
from worker.errors import JobUnusable
from worker.jobs.decorator import definition_of


def test_job_function_stays_callable():
    """A test may call it as the plain function that it is."""
    seen = []

    @job(scopes=["read"])
    def invoices(ctx):
        """Copy invoices.

        More about it.
        """
        seen.append(ctx)

    invoices("context")
    assert seen == ["context"]


def test_job_mark_holds_name_scopes_and_first_line():
    """What `worker jobs list` shows."""

    @job(scopes=["read", "write"], name="bills")
    def invoices(ctx):
        """Copy invoices.

        More about it.
        """

    found = definition_of(invoices)
    assert found is not None
    assert (found.name, found.scopes, found.doc) == ("bills", ("read", "write"), "Copy invoices.")


def test_job_may_be_marked_without_parentheses():
    """`@job` alone: no scopes, the function's own name."""

    @job
    def invoices(ctx):
        pass

    found = definition_of(invoices)
    assert found is not None
    assert (found.name, found.scopes) == ("invoices", ())


def test_job_that_is_not_marked_has_no_definition():
    """Nor has anything that is no function."""
    assert [definition_of(value) for value in (lambda _ctx: None, 3, None, JobUnusable)] == [None] * 4


async def _async(ctx):
    pass


def _generator(ctx):
    yield 1


def _two(ctx, other):
    pass


def _none():
    pass


@pytest.mark.parametrize(
    ("function", "what"),
    [(_async, "async"), (_generator, "ctx.emit"), (_two, "one argument"), (_none, "one argument")],
)
def test_job_that_could_never_run_is_refused(function, what):
    """When the file is loaded, not when the job is due."""
    with pytest.raises(JobUnusable, match=what):
        job(function)


def test_job_scopes_as_text_are_refused():
    """`scopes="read"` would be four scopes of one letter."""
    with pytest.raises(JobUnusable, match=r"scopes=\['read'\]"):
        job(scopes="read")(lambda _ctx: None)


def test_job_import_is_light():
    """`from worker import Context, job` is on every command's path."""
    code = "import sys; from worker import Context, job; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"requests", "urllib3", "sqlite3", "lxml", "sqlalchemy", "tempfile", "json"}
