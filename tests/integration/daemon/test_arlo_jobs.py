"""Arlo's jobs as an operator runs them: one limit for all of them, and errors in the API's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.config.load import load

ARLO = Path(__file__).parents[3] / "jobs" / "arlo.py"
JOBS = ("events", "registrations", "contacts", "orders", "deletions")


@pytest.fixture
def arlo(place):
    """A folder with all five jobs, for two accounts."""
    place.add_job_file("arlo", ARLO.read_text())
    for name in JOBS:
        place.job(name, uses=f"arlo.{name}", timeout="4s", retries=0)
    for account in ("acme", "globex"):
        place.enroll(account)
    return place


def test_arlo_jobs_share_the_limit_of_the_platform(arlo):
    """Five jobs of two accounts want 28 requests, twelve an hour are allowed: no thirteenth is sent."""
    config = arlo.folder / "config.toml"
    config.write_text(config.read_text().replace("headers = {", 'rate_limit = "12/hour"\nheaders = {'))
    arlo.command("once")
    assert arlo.sandbox.stats()["api_requests"] == {"200": 12}


def test_arlo_preset_sets_the_limit_of_the_platform(tmp_path):
    """300 a minute for all accounts together."""
    config = tmp_path / "config.toml"
    config.write_text('[integrations.arlo]\npreset = "arlo"\nplatform = "acme"\nclient_id = "c"\nclient_secret = "s"\n')
    config.chmod(0o600)
    [limit] = load(config, {}).integrations["arlo"].rate_limit
    assert (limit.count, limit.seconds, limit.per) == (300, 60.0, "integration")


def test_arlo_exception_stands_in_the_runs_record(arlo):
    """Its code and its message."""
    arlo.sandbox.fault("api", "forbidden")
    arlo.command("jobs", "run", "events", "--account", "acme")
    [run] = arlo.runs("events")
    assert "403 Forbidden: Forbidden: You are not permitted to access this resource." in str(run.error)


def test_arlo_429_in_json_is_told_with_its_message_and_waited_for(arlo):
    """A pause that is longer than a run waits for ends the run, which comes back after it."""
    arlo.sandbox.fault("api", "http_429", retry_after="1200")
    arlo.command("jobs", "run", "events", "--account", "acme")
    [run] = arlo.runs("events")
    assert "429 Too Many Requests: You have exceeded the allowed number of requests." in str(run.error)
