"""What job authors write type-checks against the public API; mypy reads this file, pytest runs it."""

from __future__ import annotations

from typing import assert_type

from worker import Context, job


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
