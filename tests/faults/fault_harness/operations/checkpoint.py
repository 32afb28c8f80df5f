"""A checkpoint: rows and cursor together into an embedded sink, three times in one run."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from fault_harness import faults
from fault_harness.a_run import EVERY_ROW, ready_to_run
from fault_harness.oracle import Judgement, Outcome, has_gone_on, judge, unless
from fault_harness.restart import go_on, report
from fault_harness.steps import At, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_harness.oracle import Evidence
    from fault_harness.place import Place
    from fault_harness.trial import Trial


def _steps(write: str, opened: str) -> tuple[Step, ...]:
    written = [
        step
        for which in ("first", "second", "third")
        for step in (
            Step(f"{which} checkpoint: rows and cursor are being written", write),
            Step(f"{which} checkpoint acknowledged", write, At.EXIT),
        )
    ]
    return (
        Step("the run is being claimed"),
        Step("claimed, the session is being opened", "store.schedule:Schedule.claim", At.EXIT),
        Step("the sink is being opened, the fence raised", opened),
        Step("sink open, the first page is asked for", opened, At.EXIT),
        *written,
        Step("the run's end is being recorded", "store.runs:Runs.finish"),
        Step("end recorded", "store.runs:Runs.finish", At.EXIT),
    )


class Checkpoint:
    """See the module; one for each embedded sink."""

    faults = (faults.NONE,)

    def __init__(self, sink: str, write: str, opened: str) -> None:
        self.name = f"checkpoint-{sink}"
        self.words = f"a run commits rows and cursor to the {sink} sink, three times"
        self.steps = _steps(write, opened)
        self.scope = ("jobs/sinks/", "jobs/buffer", "jobs/run_context", "runner/runner", "store/runs", "store/schedule")
        self._sink = sink

    def arrange(self, trial: Trial) -> None:
        """An account whose access token is good: no refresh is needed."""
        trial.given["grant"] = trial.provider.control.grant(trial.user)

    def prepare(self, trial: Trial) -> Callable[[], object]:
        """The run."""
        trial.place.configure(trial.provider.addresses, sink=self._sink)
        return ready_to_run(trial.place, trial.given["grant"], trial.user).make

    def between(self, trial: Trial, *, redeemed: bool) -> None:
        """What the sink counts as committed, before anybody goes on."""
        trial.given["committed"] = _committed(trial.place)

    def restart(self, trial: Trial) -> dict[str, Any]:
        """Go on."""
        return report(trial.place, go_on)

    def judge(self, trial: Trial, evidence: Evidence) -> Judgement:
        """Rows and cursor moved together, and every row has come once."""
        rows, cursor = trial.given["committed"]
        together = rows is None or rows == cursor
        calls = evidence.end.calls - evidence.before.calls
        return judge(
            evidence,
            Outcome.WENT_ON,
            unless(together, f"{rows} rows are committed, and the cursor says {cursor}"),
            unless(calls == 0, f"{calls} calls of the token endpoint, with a token that was good"),
            *has_gone_on(evidence, EVERY_ROW),
        )


def _committed(place: Place) -> tuple[int | None, int]:
    """Rows that are committed (None: none can be seen yet) and the cursor, read without the product."""
    if place.rows_path.is_dir():
        for file in place.rows_path.rglob("cursor.json"):
            record = json.loads(file.read_text())
            return _lines(place, record["tables"]), record["cursor"].get("at", 0)
        return None, 0
    scene = place.snapshot(place.rows_path)
    if scene is None:
        return None, 0
    with closing(sqlite3.connect(scene)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        rows = connection.execute("SELECT count(*) FROM t").fetchone()[0] if "t" in names else 0
        found = connection.execute("SELECT value FROM _worker_cursor").fetchone() if "_worker_cursor" in names else None
    return rows, json.loads(found[0]).get("at", 0) if found else 0


def _lines(place: Place, tables: dict[str, dict[str, int]]) -> int:
    """Lines within the committed length of the one table's file."""
    counted = 0
    for file in place.rows_path.rglob("t-*.jsonl"):
        counted += file.read_bytes()[: tables.get("t", {"bytes": 0})["bytes"]].count(b"\n")
    return counted


def checkpoints() -> tuple[Checkpoint, Checkpoint]:
    """One for each embedded sink."""
    return (
        Checkpoint("sqlite", "jobs.sinks.sqlite:SqliteSession.write", "jobs.sinks.sqlite:SqliteSink.open"),
        Checkpoint("jsonl", "jobs.sinks.jsonl:JsonlSession.write", "jobs.sinks.jsonl:JsonlSink.open"),
    )
