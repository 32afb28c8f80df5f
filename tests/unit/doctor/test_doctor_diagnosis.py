"""What the doctor concludes from what was found: pure judgements."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from worker.doctor.diagnosis import Diagnosis, Level, exit_code, of_error
from worker.doctor.endpoints import of_date, of_status
from worker.doctor.process import of_limits
from worker.errors import Busy, KeyUnusable, NeedsConsent, WorkerError

NOW = 1_767_000_000.0


def _date(moment: float) -> str:
    return format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        ([], 0),
        ([Level.OK, Level.NOTE], 0),
        ([Level.CONSENT, Level.NOTE], 3),
        ([Level.LATER, Level.CONSENT], 75),
        ([Level.FAULT, Level.LATER, Level.CONSENT], 78),
    ],
)
def test_exit_code_is_the_gravest(levels: list[Level], code: int) -> None:
    """What must be changed comes before what a pause mends, and that before a human's consent."""
    assert exit_code(Diagnosis("x", level, "") for level in levels) == code


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (KeyUnusable("no"), Level.FAULT),
        (Busy("no"), Level.LATER),
        (NeedsConsent("no"), Level.CONSENT),
        (WorkerError("no"), Level.FAULT),
    ],
)
def test_error_keeps_its_meaning(error: WorkerError, level: Level) -> None:
    """A check that fails says what its error says."""
    assert of_error("x", error).level is level


@pytest.mark.parametrize("off", [-0.9, 0.0, 0.4, 4.0, -4.0])
def test_clock_within_seconds_is_right(off: float) -> None:
    """Date has whole seconds, and the answer takes its time."""
    assert of_date("https://as.example", _date(NOW - off), NOW, NOW + 0.2) is None


@pytest.mark.parametrize(("off", "level", "word"), [(30, Level.NOTE, "30 s"), (7200, Level.FAULT, "2 h")])
def test_clock_ahead_is_told_with_its_distance(off: float, level: Level, word: str) -> None:
    """Half a minute is worth a word, two hours break ID tokens."""
    found = of_date("https://as.example/token", _date(NOW - off - 1), NOW, NOW)
    assert found is not None
    assert (found.level, word in found.message, "ahead of that of as.example" in found.message) == (level, True, True)


def test_clock_behind_is_told_as_behind() -> None:
    """The direction matters to whoever mends it."""
    found = of_date("https://as.example/token", _date(NOW + 3600), NOW, NOW + 1)
    assert found is not None
    assert "behind" in found.message


def test_slow_answer_is_no_wrong_clock() -> None:
    """A request that takes a minute spans the Date it brings."""
    assert of_date("https://as.example", _date(NOW + 30), NOW, NOW + 60) is None


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 2026", "Thu, 01 Jan 99999 00:00:00 GMT"])
def test_unreadable_date_says_nothing(date: str) -> None:
    """Without a readable Date there is no comparison."""
    assert of_date("https://as.example", date, NOW, NOW) is None


@pytest.mark.parametrize(
    ("status", "level"),
    [(200, Level.OK), (400, Level.OK), (401, Level.OK), (405, Level.OK), (404, Level.FAULT), (503, Level.LATER)],
)
def test_endpoint_may_refuse_but_must_be_there(status: int, level: Level) -> None:
    """A bare request is refused by a healthy endpoint."""
    assert of_status("integrations.a.token_url", "https://as.example/token", status).level is level


def test_api_root_may_be_missing() -> None:
    """An API's base is a prefix, not always a page."""
    assert of_status("integrations.a.api_base", "https://api.example/v1/", 404).level is Level.OK


def test_too_few_open_files_are_a_fault() -> None:
    """Sixteen runs do not fit into a hundred files."""
    assert [found.level for found in of_limits(100, 0, 16)] == [Level.FAULT]


def test_enough_open_files_are_silent() -> None:
    """Nothing to say."""
    assert list(of_limits(1024, 0, 16)) == []


def test_core_dumps_are_noted() -> None:
    """They would hold tokens."""
    assert [found.level for found in of_limits(1024, -1, 16)] == [Level.NOTE]
