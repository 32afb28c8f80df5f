"""What job authors write type-checks against the public API; mypy reads this file, pytest runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

from worker import Context, job
from worker.jobs.paging import Offset
from worker.testing import run_job

if TYPE_CHECKING:
    from collections.abc import Mapping


@job(scopes=["read"])
def invoices(ctx: Context) -> None:
    """Copy invoices changed since the last run."""
    for page in ctx.pages("/invoices", params={"since": ctx.cursor.get("changed", "1970-01-01T00:00:00Z")}):
        ctx.emit("invoices", page.rows, key="id")
        ctx.checkpoint(changed=page.last("updated_at"))


@job
def plain(ctx: Context) -> None:
    """Ask for one thing."""
    assert_type(ctx.get("thing").status_code, int)
    assert_type(ctx.account, str)


def test_job_decorator_keeps_the_function() -> None:
    """A marked function is still that function: callable, with its name and its docstring."""
    assert invoices.__name__ == "invoices"
    assert plain.__doc__ == "Ask for one thing."


@job
def comforts(ctx: Context) -> None:
    """Everything that a job is handed has a type."""
    lines = ctx.stream("lines")
    assert_type(lines, Context)
    assert_type(lines.cursor, Mapping[str, Any])
    assert_type(ctx.since, str | None)
    assert_type(ctx.until, str | None)
    assert_type(ctx.deadline, float | None)
    ctx.log.info("so far", extra={"count": 1})
    for page in lines.pages("/lines", style=Offset(limit=50)):
        assert_type(page.total, int | None)
        lines.emit("lines", page.rows, key=("order", "number"))
        ctx.progress(page.number, 12)
    result = run_job(comforts, recording=Path("lines.yaml"), backfill=("2026-01-01", "2026-02-01"))
    assert_type(result.rows, dict[str, list[dict[str, Any]]])
