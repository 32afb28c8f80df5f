"""What the demo reads out of the daemon's log, and what it hands on to the processes it starts."""

from __future__ import annotations

import io
import json

from worker.cli.demo_story.narrator import Narrator
from worker.cli.demo_story.processes import ending, environment
from worker.cli.demo_story.progress import Progress


def line(message, **facts):
    """A line of the daemon's log."""
    return json.dumps({"level": "INFO", "message": message, "account": "bob", **facts}) + "\n"


def test_progress_counts_what_was_logged(tmp_path):
    """Refreshes, ends of runs and the state, by account."""
    log = tmp_path / "daemon.log"
    log.write_text(
        line("ready")
        + line("grant refreshed", generation=2)
        + line("run succeeded", job="events", rows=3)
        + line("account needs consent")
        + line("run skipped", job="events")
    )
    progress = Progress(log)
    progress.read()
    bob = progress.accounts["bob"]
    assert progress.ready
    assert (bob.refreshes, bob.generation, bob.state, bob.skipped) == (1, 2, "needs_consent", {"events"})
    assert bob.runs == {"succeeded": 1, "skipped": 1}


def test_progress_leaves_half_a_line_for_later(tmp_path):
    """A line that is being written is read once, when it is whole."""
    log, progress = tmp_path / "daemon.log", Progress(tmp_path / "daemon.log")
    whole = line("run succeeded", job="events")
    log.write_text(whole[:20])
    progress.read()
    assert progress.accounts["bob"].runs == {}
    log.write_text(whole)
    progress.read()
    progress.read()
    assert progress.accounts["bob"].runs == {"succeeded": 1}


def test_progress_passes_over_what_is_no_log_line(tmp_path):
    """A traceback or a line of another account stops nothing."""
    log = tmp_path / "daemon.log"
    log.write_text("Traceback (most recent call last):\n[1]\n" + line("run failed", account="nobody") + line("ready"))
    progress = Progress(log)
    progress.read()
    assert progress.ready


def test_tail_shows_what_is_more_than_information(tmp_path):
    """Errors, shortened; bare text as it is; information not at all."""
    log = tmp_path / "daemon.log"
    log.write_text(line("ready") + line("run failed", level="ERROR", job="events", error="no route") + "Killed\n")
    assert Progress(log).tail(5) == ["daemon: bob/events run failed (no route)", "Killed"]


def test_environment_keeps_foreign_configuration_and_proxies_out():
    """A demo called inside a service uses neither the service's config nor a proxy on the way to 127.0.0.1."""
    made = environment({"PATH": "/bin", "WORKER_CONFIG": "/etc/worker/config.toml", "NO_PROXY": "example.org"})
    assert made == {"PATH": "/bin", "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def test_ending_names_the_signal():
    """A killed process is told apart from one that left."""
    assert (ending(-9), ending(3)) == ("was killed by SIGKILL", "left with exit code 3")


def test_narrator_ticks_in_ascii_where_nothing_else_can_be_shown():
    """A stream that cannot carry a tick gets one it can."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Narrator(stream).fact("it is so")
    assert raw.getvalue().strip() == b"+ it is so"


def test_narrator_aligns_the_closing_table():
    """Columns are as wide as their widest cell, headings included."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    narrator = Narrator(stream)
    narrator.closing("What happened", ("account", "token_calls"), [{"account": "arlo/alice", "token_calls": 5}])
    assert raw.getvalue().decode().splitlines()[2:] == ["ACCOUNT     TOKEN CALLS", "arlo/alice  5"]
