"""Which accounts a job runs for."""

from __future__ import annotations

import pytest

from worker.config.model import JobConfig
from worker.jobs.decorator import JobDefinition
from worker.jobs.sinks.memory import MemorySink
from worker.runner.assignment import Assignment


def assignment(accounts: tuple[str, ...] | None) -> Assignment:
    config = JobConfig(
        name="invoices",
        uses="billing.invoices",
        integration="books",
        every=60.0,
        cron=None,
        timezone="UTC",
        jitter=0.0,
        timeout=60.0,
        retries=3,
        accounts=accounts,
        sink=None,
        params={},
        catch_up=True,
    )
    return Assignment(config, JobDefinition("invoices", lambda _ctx: None, (), ""), MemorySink(), None, None)


@pytest.mark.parametrize(
    ("accounts", "integration", "account", "covered"),
    [
        (None, "books", "acme", True),
        (None, "other", "acme", False),
        (("acme",), "books", "acme", True),
        (("acme",), "books", "globex", False),
        (("acme",), "other", "acme", False),
        ((), "books", "acme", False),
    ],
)
def test_assignment_covers_the_accounts_of_its_integration(accounts, integration, account, covered):
    """All of them, or those that are named."""
    assert assignment(accounts).covers(integration, account) is covered
