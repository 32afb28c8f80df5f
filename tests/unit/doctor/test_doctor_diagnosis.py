"""What the doctor concludes from what was found: pure judgements."""

from __future__ import annotations

import pytest

from worker.doctor.diagnosis import Diagnosis, Level, exit_code, of_error
from worker.doctor.endpoints import of_clock, of_status
from worker.doctor.process import of_limits
from worker.errors import Busy, KeyUnusable, NeedsConsent, WorkerError
from worker.oauth.clock_skew import ClockSkew


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


@pytest.mark.parametrize("ahead", [0.0, 4.0, -4.0])
def test_clock_within_seconds_is_right(ahead: float) -> None:
    """Nobody's clock is exact."""
    assert of_clock(ClockSkew(ahead, "https://as.example")) is None


@pytest.mark.parametrize(
    ("ahead", "level", "word"), [(30, Level.NOTE, "30 s ahead"), (-7200, Level.FAULT, "2 h behind")]
)
def test_wrong_clock_is_told_with_its_distance(ahead: float, level: Level, word: str) -> None:
    """Half a minute is worth a word, two hours break ID tokens."""
    found = of_clock(ClockSkew(ahead, "https://as.example"))
    assert found is not None
    assert (found.level, f"{word} of https://as.example".replace("behind of", "behind") in found.message) == (
        level,
        True,
    )


def test_answer_without_date_says_nothing_about_clocks() -> None:
    """There is no comparison."""
    assert of_clock(None) is None


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
