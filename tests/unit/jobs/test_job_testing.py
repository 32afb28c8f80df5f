from __future__ import annotations

import pytest
import requests

from worker import job
from worker.errors import TryAgainLater
from worker.jobs.sinks import Stream
from worker.jobs.sinks.memory import MemorySink
from worker.testing import Answer, UnexpectedRequest, run_job


@job(scopes=["read"])
def invoices(ctx):
    """Copy invoices changed since the last run."""
    for page in ctx.pages("/invoices", params={"since": ctx.cursor.get("changed", "1970-01-01T00:00:00Z")}):
        ctx.emit("invoices", page.rows, key="id")
        ctx.checkpoint(changed=page.last("updated_at"))


ROWS = [{"id": 1, "updated_at": "2026-01-01T00:00:00Z"}, {"id": 2, "updated_at": "2026-01-02T00:00:00Z"}]


def test_run_job_answers_rows_cursor_and_requests():
    """The job of the documentation, in one line."""
    result = run_job(invoices, responses={"/invoices": ROWS}, cursor={"changed": "2025-12-31T00:00:00Z"})
    assert result.rows == {"invoices": ROWS}
    assert result.cursor == {"changed": "2026-01-02T00:00:00Z"}
    assert result.urls == ["https://api.test/invoices?since=2025-12-31T00%3A00%3A00Z"]


def test_run_job_says_what_it_expected():
    """An unexpected request names itself and every response there was."""
    with pytest.raises(
        UnexpectedRequest, match=r"GET https://api\.test/invoices\?since=.* expected:\n  /bills"
    ) as caught:
        run_job(invoices, responses={"/bills": [], "GET /more": []})
    assert "GET /more" in str(caught.value)


def test_run_job_has_no_network():
    """Not even for absolute addresses."""
    with pytest.raises(UnexpectedRequest):
        run_job(lambda ctx: ctx.session.get("https://example.com/"), responses=[])


def test_run_job_that_raises_keeps_its_last_checkpoint():
    """As in the daemon; the test brings the sink to look into."""
    sink = MemorySink()
    answers = [Answer(json=ROWS[:1], next="https://api.test/invoices?page=2"), Answer(json=ROWS[1:], status=503)]
    with pytest.raises(TryAgainLater):
        run_job(invoices, responses=answers, sink=sink)
    assert sink.tables == {"invoices": ROWS[:1]}
    assert sink.read_cursor(Stream("invoices", "test", "account")) == {"changed": "2026-01-01T00:00:00Z"}


def test_run_job_rows_after_the_last_checkpoint_are_committed_at_the_end():
    """With the cursor as it stands."""

    def two(ctx):
        ctx.emit("t", [{"n": 1}])
        ctx.checkpoint(at=1)
        ctx.emit("t", [{"n": 2}])

    result = run_job(two)
    assert (result.rows, result.cursor) == ({"t": [{"n": 1}, {"n": 2}]}, {"at": 1})


def test_run_job_answers_in_turn():
    """A list of answers for one address: first a failure of the network, then a success."""

    def stubborn(ctx):
        try:
            ctx.get("/x")
        except requests.ConnectionError:
            ctx.emit("t", [ctx.get("/x").json()])

    result = run_job(stubborn, responses={"/x": [requests.ConnectionError("gone"), Answer(json={"ok": True})]})
    assert result.rows == {"t": [{"ok": True}]}


def test_run_job_answers_by_method_and_query():
    """A key with a query wins over one without."""

    def several(ctx):
        ctx.session.post(ctx.url("/x"), data={"a": "b"})
        ctx.emit("t", [{"n": ctx.get("x", params={"q": n}).json()} for n in (1, 2)])

    result = run_job(several, responses={"POST /x": 204, "/x": Answer(json="any"), "/x?q=2": Answer(json="two")})
    assert result.rows == {"t": [{"n": "any"}, {"n": "two"}]}


def test_run_job_answers_by_function():
    """For everything else."""
    result = run_job(
        lambda ctx: ctx.emit("t", {"method": ctx.get("/x").json()}),
        responses=lambda request: Answer(json=request.method),
    )
    assert result.rows == {"t": [{"method": "GET"}]}


def test_run_job_hands_over_params_and_facts():
    """What the config would."""
    result = run_job(
        lambda ctx: ctx.emit(
            "t", {"p": ctx.params["top"], "of": f"{ctx.integration}/{ctx.account}", "left": ctx.deadline}
        ),
        params={"top": 5},
    )
    assert result.rows == {"t": [{"p": 5, "of": "test/account", "left": None}]}
