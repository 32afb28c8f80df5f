"""Everything that was written while the story was played at debug level, searched for every secret that existed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from secret_story import API_FAULTS, TOKEN_FAULTS, play, spellings
from workplace import make_workplace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Story = dict[str, Any]
#: Seconds. The first test that asks plays the story, and others may have to wait for it.
pytestmark = pytest.mark.timeout(480)


@pytest.fixture(scope="module")
def story(played_once: Callable[..., Story]) -> Story:
    """What was searched for, where, and what was found."""

    def in_folder(folder: Path) -> Story:
        return play(folder, make_workplace(folder, installed=True))

    return played_once("secret-story", in_folder)


def test_secrets_are_in_no_output_log_database_journal_or_sink(story: Story) -> None:
    """Not one of them, in no spelling, anywhere."""
    assert story["found"] == []


def test_secrets_that_are_searched_for_are_all_kinds_that_exist(story: Story) -> None:
    """A search for nothing finds nothing: each kind was really there."""
    counts = story["secrets"]
    kinds = {"access_token", "refresh_token", "id_token", "code", "code_verifier", "basic credentials", "token"}
    assert kinds <= counts.keys()
    assert all(counts.values())
    assert counts["refresh_token"] > len(TOKEN_FAULTS)


def test_search_covers_database_journal_locks_and_both_sinks(story: Story) -> None:
    """A search of nothing finds nothing: each kind of file was really searched."""
    names = " ".join(story["searched"])
    for name in ("state/worker.db", "moment of worker.db-journal", "state/data.db", "state/rows/", "locks/", ".jsonl"):
        assert name in names


def test_log_has_the_http_libraries_at_debug(story: Story) -> None:
    """urllib3 logged too; had it been silenced, its silence would prove nothing."""
    assert "urllib3.connectionpool" in story["loggers"]


@pytest.mark.parametrize(
    "place", ["daemon log", "terminal", "stdout of", "stderr of", "file state/worker.db", "moment of worker.db-journal"]
)
def test_what_the_careless_job_said_is_shown_without_the_token(story: Story, place: str) -> None:
    """The job's own error is there to be read wherever errors are, with the token masked."""
    assert any(name.startswith(place) for name in story["masked"])


def test_faults_have_really_been_played(story: Story) -> None:
    """Failures are where secrets escape: they happened."""
    messages = " ".join(story["messages"])
    assert ("run failed" in messages, "run retrying" in messages) == (True, True)
    assert len(API_FAULTS) == 6


def test_identity_is_in_no_file_in_plain_text(story: Story) -> None:
    """Who consented is sealed like the tokens are."""
    assert story["subjects"] == []


def test_files_in_the_state_folder_are_for_their_owner_alone(story: Story) -> None:
    """Database, locks and sinks: 0600."""
    assert {name: mode for name, mode in story["modes"].items() if mode != "0o600"} == {}


def test_spellings_cover_basic_credentials() -> None:
    """What the search knows of HTTP Basic is what RFC 6749 section 2.3.1 sends."""
    import base64

    sent = base64.b64encode(b"client%3Awith%2Fodd+chars:p%40ss").decode().rstrip("=")
    assert sent in spellings("p@ss")
