"""Runs that behave: limits, patience, what is sent again, what is asked for only when it changed, backpressure."""

from __future__ import annotations

import threading
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from wsgi_api import Reply, WsgiApi, http_date

from worker import validator
from worker.clock import SystemClock
from worker.config.model import RateLimit
from worker.errors import TryAgainLater
from worker.jobs.sinks import Stream
from worker.jobs.spool import SPOOL_BYTES
from worker.runner.rate import RateLimiter
from worker.sandbox import Sandbox, SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600.0
STREAM = Stream("invoices", "books", "acme")


@pytest.fixture
def serve() -> Iterator:
    """Starts an API; it ends with the test."""
    started: list[WsgiApi] = []

    def start(reply) -> WsgiApi:
        started.append(WsgiApi(reply))
        return started[-1]

    yield start
    for api in started:
        api.close()


def pages_of(count: int, rows: int = 2):
    """Replies of so many pages, by `page` in the query."""

    def reply(_path, query) -> Reply:
        page = int(query.get("page", "1"))
        body = {"items": [{"id": page * 1000 + number, "text": "x" * 300} for number in range(rows)]}
        return Reply(body | {"next": f"/items?page={page + 1}" if page < count else None})

    return reply


def copy_pages(context) -> None:
    """The usual job."""
    for page in context.pages("items"):
        context.emit("items", page.rows, key="id")
        context.checkpoint(page=page.number)


class TestLimits:
    """A run that would have to wait for long lets others work."""

    def test_run_beyond_its_limit_goes_on_when_there_is_room(self, serve, settle):
        """Two requests an hour, six pages: three attempts of one run, each from its checkpoint, and no retry used."""
        api = serve(pages_of(6))
        house = settle(api)
        limiter = RateLimiter((RateLimit(2, HOUR, "integration"),), house.clock)

        def job(context) -> None:
            for number in range(context.cursor.get("page", 0) + 1, 7):
                context.emit("items", context.get("items", params={"page": number}).json()["items"], key="id")
                context.checkpoint(page=number)

        house.add_job(job, every=24 * HOUR, retries=0, limiter=limiter)
        account = house.enroll()
        engine = house.engine()
        waits = []
        for _ in range(2):
            house.turn(engine)
            waits.append(house.row(account).next_due - house.clock.now())
            house.clock.advance(waits[-1])
        house.turn(engine)
        assert [(run.state, run.attempt, run.counts.requests) for run in house.runs()] == [("succeeded", 3, 6)]
        assert [query["page"] for _, query, _ in api.asked] == ["1", "2", "3", "4", "5", "6"]
        assert [HOUR - 1 <= wait <= 1.25 * HOUR + 1 for wait in waits] == [True, True]

    def test_run_that_gets_nowhere_uses_up_its_retries(self, serve, settle):
        """A job without a checkpoint that needs more than its limit would begin anew for ever."""
        api = serve(pages_of(1))
        house = settle(api)
        limiter = RateLimiter((RateLimit(1, HOUR, "account"),), house.clock)
        job = house.add_job(
            lambda context: [context.get("items") for _ in range(2)] and None, retries=1, limiter=limiter
        )
        account = house.enroll()
        engine = house.engine()
        for _ in range(2):
            house.turn(engine)
            house.clock.advance(house.row(account).next_due - house.clock.now())
        assert [(run.state, run.attempt) for run in house.runs(job=job.name)] == [("failed", 2)]

    def test_run_that_waits_leaves_its_thread_to_others(self, serve, settle):
        """One thread, and an account whose limit is used up for an hour: the other job is done in the same turn."""
        api = serve(pages_of(1))
        house = settle(api)
        limiter = RateLimiter((RateLimit(1, HOUR, "account"),), house.clock)
        house.add_job(lambda context: [context.get("items") for _ in range(2)] and None, "limited", limiter=limiter)
        house.add_job(copy_pages, "other")
        house.enroll()
        engine = house.engine(concurrency=1)
        house.turn(engine)
        house.turn(engine)
        assert {run.job: run.state for run in house.runs()} == {"limited": "retrying", "other": "succeeded"}

    def test_what_the_api_asks_of_one_account_all_heed_that_share_its_limit(self, serve, settle):
        """An answer to one; the others of the integration do not go and get the same."""
        api = serve(lambda _path, _query: Reply(status="429 Too Many Requests", headers=[("Retry-After", "7200")]))
        house = settle(api)
        limiter = RateLimiter((RateLimit(300, 60.0, "integration"),), house.clock)
        house.add_job(copy_pages, every=60.0, limiter=limiter)
        for name in ("acme", "globex", "initech"):
            house.enroll(name)
        engine = house.engine(concurrency=1)
        for _ in range(60):
            house.turn(engine)
            house.clock.advance(60)
        asked_in_the_hour = len(api.asked)
        for _ in range(100):
            house.turn(engine)
            house.clock.advance(60)
        assert asked_in_the_hour == 1
        assert len(api.asked) > 1

    def test_quota_that_is_used_up_is_not_overdrawn(self, serve, settle):
        """The API says that nothing is left for an hour: not one more request, and no refusal."""
        reply = pages_of(3)
        api = serve(lambda path, query: Reply(reply(path, query).body, headers=[("RateLimit", '"default";r=0;t=3600')]))
        house = settle(api)
        house.add_job(copy_pages, every=24 * HOUR)
        house.enroll()
        house.turn(house.engine())
        (run,) = house.runs()
        assert (run.state, len(api.asked)) == ("retrying", 1)
        assert run.error == "127.0.0.1 is not to be asked for another 60 min: its rate limit is used up"

    def test_run_that_meets_the_apis_own_limit_gets_through(self, settle):
        """Three a second at the sandbox, and nothing about it in the config: refused, patient, done in one attempt."""
        with Sandbox(SandboxConfig(rows=5, rate_limit=3, rate_window=1)) as sandbox:
            house = settle(sandbox, SystemClock())
            house.add_job(lambda context: [context.get("events/") for _ in range(7)] and None)
            house.enroll()
            house.turn(house.engine())
            refused = sandbox.stats()["api_requests"]["429"]
        (run,) = house.runs()
        assert (run.state, run.attempt, run.counts.requests) == ("succeeded", 1, 7 + refused)
        assert refused > 0


class TestInsisting:
    """A failure in the middle does not cost what came before."""

    def test_faults_in_the_middle_do_not_end_the_run(self, serve, settle, caplog):
        """A 503, and an answer that breaks off: one run, one attempt, every row once."""
        caplog.set_level("INFO", "worker")
        healthy, faults = pages_of(8), {
            "4": [Reply(status="503 Service Unavailable")],
            "7": [Reply({"items": []}, whole=False), Reply({"items": []}, whole=False)],
        }  # fmt: skip

        def reply(path, query) -> Reply:
            left = faults.get(query.get("page", "1"))
            return left.pop() if left else healthy(path, query)

        house = settle(serve(reply), SystemClock())
        house.add_job(copy_pages)
        house.enroll()
        house.turn(house.engine())
        (run,) = house.runs()
        assert (run.state, run.attempt, run.counts.rows, run.counts.requests) == ("succeeded", 1, 16, 11)
        (line,) = [one for one in caplog.records if one.message == "run succeeded"]
        assert line.repeated == 3

    def test_fault_at_the_beginning_is_left_to_the_schedule(self, serve, settle):
        """There is nothing to lose."""
        api = serve(lambda _path, _query: Reply(status="503 Service Unavailable"))
        house = settle(api)
        house.add_job(copy_pages)
        house.enroll()
        house.turn(house.engine())
        assert (house.states(), len(api.asked)) == (["retrying"], 1)


class TestConditions:
    """A job that asks only for what has changed."""

    @pytest.fixture
    def shop(self, serve, settle):
        """A list of prices with a version, and a job that copies it when it has changed."""
        prices = [{"sku": 1, "price": 10}]

        def reply(_path, _query) -> Reply:
            etag = f'"v{len(prices)}"'
            if api.asked[-1][2].get("if_none_match") == etag:
                return Reply(status="304 Not Modified", headers=[("ETag", etag)])
            return Reply(prices, headers=[("ETag", etag)])

        api = serve(reply)
        house = settle(api)
        house.crashes = False

        def job(context) -> None:
            answer = context.get("prices", changed_since=context.cursor.get("prices"))
            if answer.status_code == 304:
                return
            context.emit("prices", answer.json(), key="sku")
            if house.crashes:
                raise TryAgainLater("in between")
            context.checkpoint(prices=validator(answer))

        house.add_job(job, every=60.0)
        house.enroll()
        return house, api, prices

    def run(self, house) -> int:
        """One run; the rows that it wrote."""
        house.clock.advance(3600)
        house.turn(house.engine())
        return house.runs()[-1].counts.rows

    def test_nothing_new_is_a_run_without_rows(self, shop):
        """And a change comes with the next one."""
        house, api, prices = shop
        written = [self.run(house), self.run(house)]
        prices.append({"sku": 2, "price": 20})
        written += [self.run(house), self.run(house)]
        assert (written, set(house.states())) == ([1, 0, 2, 0], {"succeeded"})
        assert [fields.get("if_none_match") for _, _, fields in api.asked] == [None, '"v1"', '"v1"', '"v2"']

    def test_version_is_kept_only_with_its_rows(self, shop):
        """A run that ends in between asks for everything again."""
        house, _, _ = shop
        house.crashes = True
        self.run(house)
        house.crashes = False
        assert self.run(house) == 1
        assert house.sink.tables["prices"] == [{"sku": 1, "price": 10}]

    def test_last_modified_does_where_there_is_no_version(self, serve, settle):
        """An API with nothing but times."""

        def reply(_path, _query) -> Reply:
            fields = [("Last-Modified", http_date(1_700_000_000))]
            known = api.asked[-1][2].get("if_modified_since") == http_date(1_700_000_000)
            return Reply(status="304 Not Modified", headers=fields) if known else Reply([{"sku": 1}], headers=fields)

        api = serve(reply)
        house = settle(api)
        seen = []

        def job(context) -> None:
            answer = context.get("prices", changed_since=context.cursor.get("prices"))
            seen.append(answer.status_code)
            context.checkpoint(prices=validator(answer))

        house.add_job(job, every=60.0)
        house.enroll()
        for _ in range(2):
            self.run(house)
        assert seen == [200, 304]


class _Slow:
    """A sink that takes its time, and looks at what is asked meanwhile."""

    def __init__(self, api) -> None:
        self.api = api
        self.cursor = {}
        self.written: list[tuple[int, int]] = []

    def open(self, _stream, _fence):
        return self

    def write(self, batches, cursor) -> int:
        rows = sum(1 for batch in batches.values() for _ in batch.rows)
        before = len(self.api.asked)
        threading.Event().wait(0.02)
        self.written.append((before, len(self.api.asked)))
        return rows

    def close(self) -> None:
        """Nothing to let go of."""


class TestBackpressure:
    """Rows wait for nobody: what is slow is waited for."""

    def test_slow_sink_slows_the_reading(self, serve, settle):
        """No page is asked for while another one is written, and none ahead of it."""
        api = serve(pages_of(10))
        house = settle(api)
        house.sink = _Slow(api)
        house.add_job(copy_pages)
        house.enroll()
        house.turn(house.engine())
        assert house.states() == ["succeeded"]
        assert house.sink.written == [(page, page) for page in range(1, 11)]

    def test_memory_is_flat_however_long_a_run_is(self, serve, settle):
        """Without a single checkpoint: what is pending beyond the buffer's bound is on the disk."""
        sink = _Slow(None)
        sink.write = lambda batches, _cursor: sum(1 for batch in batches.values() for _ in batch.rows)
        peaks = []

        def job(context) -> None:
            for page in context.pages("items"):
                context.emit("items", page.rows)

        house = settle(serve(pages_of(5, rows=1000)))
        house.sink = sink
        for count in (5, 40):
            house.sandbox.reply = pages_of(count, rows=1000)
            house.add_job(job, f"job{count}")
            if count == 5:
                house.enroll()
            tracemalloc.start()
            house.turn(house.engine())
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            house.jobs.clear()
        assert [run.counts.rows for run in house.runs()] == [5000, 40_000]
        assert peaks[1] < peaks[0] + SPOOL_BYTES
