"""The main job on three servers, through the installed command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from servers import ACCESS_TTL, DjangoToolkit, OidcProvider, Sandbox
from story import MISSED, REFRESHES, play
from workplace import make_workplace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Story = dict[str, Any]
#: Seconds. The first test that asks plays the story, and others may have to wait for it.
pytestmark = pytest.mark.timeout(480)
ROWS = {"sandbox": 300, "oidc-provider": 10, "django": 10}


@pytest.fixture(scope="module", params=list(ROWS))
def server_name(request: pytest.FixtureRequest) -> str:
    """Each of the three."""
    return str(request.param)


@pytest.fixture(scope="module")
def story(
    server_name: str, request: pytest.FixtureRequest, played_once: Callable[..., Story], tmp_path_factory: Any
) -> Story:
    """What was seen when the story was played on this server."""
    packages = request.getfixturevalue("oidc_packages") if server_name == "oidc-provider" else None

    def on_server(folder: Path) -> Story:
        folder.joinpath("server").mkdir()
        server = {
            # Tokens die before they said they would: here it is the API's 401 and 403 that lead to the refresh.
            "sandbox": lambda: Sandbox(claimed_ttl=2 * ACCESS_TTL),
            "oidc-provider": lambda: OidcProvider(packages),
            "django": lambda: DjangoToolkit(folder / "server"),
        }[server_name]()
        with server:
            return play(server, make_workplace(folder, installed=True))

    return played_once(f"story-{server_name}", on_server)


def test_story_authorization_url_stands_alone_on_a_line_of_stdout(story: Story) -> None:
    """What --paste prints on stdout is the URL, then the result."""
    url, result = story["enrolled"].splitlines()
    assert (url.startswith("http://127.0.0.1:"), " " in url) == (True, False)
    assert result.startswith("api/alice is enrolled")


def test_story_new_account_is_active_with_the_granted_scopes(story: Story) -> None:
    """The account list shows generation 1, its scopes and when its token lapses."""
    account = story["at first"]
    assert (account["state"], account["generation"], account["reason"]) == ("active", 1, None)
    assert account["access_token_expires_at"].endswith("Z")
    assert {"openid"} <= set(account["scopes"])


def test_story_subject_is_who_consented(story: Story) -> None:
    """The ID token's subject is kept with the account."""
    assert story["at first"]["subject"]


def test_story_generation_counts_every_refresh_and_consent(story: Story) -> None:
    """What the server counted is what the store says: nothing was refreshed twice, nothing was lost."""
    generations = {account["account"]: account["generation"] for account in story["accounts"]}
    counted = story["refreshes"]
    assert generations == {"alice": 1 + counted["alice"], "bob": 2 + counted["bob"]}


def test_story_token_endpoint_refuses_once_and_only_for_the_revoked_grant(story: Story) -> None:
    """No refresh is tried in vain: one refusal is enough, and nothing is asked while a human is waited for."""
    calls = story["token calls"]
    assert calls["authorization_code"] == {"granted": 3}
    assert calls["refresh_token"] == {"granted": sum(story["refreshes"].values()), "invalid_grant": 1}


def test_story_refreshes_are_seen_while_the_daemon_runs(story: Story) -> None:
    """Tokens of two seconds are refreshed again and again, without anybody's help."""
    assert story["before"]["generation"] >= 1 + REFRESHES
    assert story["before"]["last_refreshed_at"] > story["at first"]["enrolled_at"]


def test_story_revoked_account_is_flagged_with_its_cause(story: Story) -> None:
    """The account list says that a human is needed, and what the provider said."""
    flagged = story["flagged"]
    assert (flagged["state"], flagged["cause"]) == ("needs_consent", "revoked")
    assert "invalid_grant" in flagged["reason"]


def test_story_why_tells_evidence_and_remedy(story: Story) -> None:
    """`accounts why` ends with the move, its evidence and the command to type."""
    why = story["why"]
    assert why["remedy"] == "worker enroll api bob"
    move = next(entry for entry in reversed(why["timeline"]) if entry["after"] == "needs_consent")
    assert (move["before"], move["evidence"]["error"]) == ("active", "invalid_grant")
    assert "To do: worker enroll api bob" in story["why in words"]


def test_story_status_names_the_account_that_needs_consent(story: Story) -> None:
    """`status` answers 3 and shows who."""
    assert story["status"]["accounts"] == {"active": 1, "needs_consent": 1}
    assert [row["account"] for row in story["status"]["troubled"]] == ["bob"]


def test_story_running_a_flagged_account_by_hand_answers_3(story: Story) -> None:
    """`jobs run` says by its exit code that a human must consent."""
    assert story["run by hand"] == 3


def test_story_other_account_goes_on_meanwhile(story: Story) -> None:
    """One revoked grant is one account's business: alice's runs all succeed."""
    assert story["others"] == "active"
    assert {run["state"] for run in story["runs"]["alice"]} <= {"succeeded", "running", "interrupted"}


def test_story_runs_of_the_flagged_account_are_recorded_as_skipped(story: Story) -> None:
    """Nothing is left out silently: each firing is in the history, with the reason."""
    skipped = [run for run in story["runs"]["bob"] if run["state"] == "skipped"]
    assert skipped
    assert all(run["error"].startswith("needs_consent: ") for run in skipped)


def test_story_consent_in_place_keeps_the_account(story: Story) -> None:
    """The same account goes on: active, same subject, a higher generation, no reason left."""
    before, after = story["before"], story["after"]
    assert (after["state"], after["reason"]) == ("active", None)
    assert (after["subject"], after["enrolled_at"]) == (before["subject"], before["enrolled_at"])
    assert after["generation"] > before["generation"]


def test_story_catch_up_brings_what_was_missed_and_no_more(story: Story) -> None:
    """The run after the consent starts at the last cursor: the rows that appeared meanwhile, not all of them."""
    assert (story["catch_up"]["state"], story["catch_up"]["rows"]) == ("succeeded", MISSED)


def test_story_every_row_is_there_once_for_each_account(story: Story, server_name: str) -> None:
    """Nothing missing, nothing twice, whatever happened to the grant."""
    whole = ROWS[server_name] + MISSED
    assert story["rows"] == {"alice": [whole, whole], "bob": [whole, whole]}


def test_story_daemon_drains_on_sigterm(story: Story) -> None:
    """The daemon ends with 0."""
    assert story["exit code"] == 0


def test_story_log_has_no_error_but_the_revoked_grant(story: Story) -> None:
    """What is an error in the log is bob's account and bob's run; nothing else went wrong."""
    assert {line["message"] for line in story["errors"]} == {"account needs consent", "run failed"}
    assert {line["account"] for line in story["errors"]} == {"bob"}


def test_story_log_lines_say_whose_run_they_are_of(story: Story) -> None:
    """Every line of a run carries integration, account, job, run id and generation."""
    wanted = {"integration", "account", "job", "run_id", "generation", "time", "level"}
    assert story["lines of runs"]
    assert all(wanted <= line.keys() for line in story["lines of runs"])
