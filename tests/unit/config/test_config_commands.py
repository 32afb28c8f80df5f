from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from worker.config.commands import run_command
from worker.config.secrets import SecretSource
from worker.errors import Misconfigured, TryAgainLater

PLACE = "integrations.arlo.client_secret_command"


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def shell(script: str) -> SecretSource:
    """A command source that runs a shell script."""
    return SecretSource("command", "sh …", PLACE, argv=("sh", "-c", script))


def test_command_prints_the_secret(tmp_path):
    """Standard output without the last line break."""
    assert shell("echo hunter2hunter2").read(dict(os.environ), tmp_path).reveal() == "hunter2hunter2"


def test_command_is_not_run_by_a_shell(folder, integration):
    """Text is split into words, and nothing in them is expanded."""
    config = folder.load(f"{integration}client_secret_command = \"printf '%s|' '$HOME' a;b\"")
    secret = config.integrations["arlo"].secrets["client_secret"]
    assert secret.argv == ("printf", "%s|", "$HOME", "a;b")
    assert secret.read(dict(os.environ), folder.path).reveal() == "$HOME|a;b|"


def test_command_runs_in_the_folder_of_the_config(tmp_path):
    """So a script beside it can be named relatively."""
    assert shell("pwd").read(dict(os.environ), tmp_path).reveal() == str(tmp_path.resolve())


def test_command_sees_the_environment_handed_in(tmp_path):
    """And no other."""
    assert shell("echo $A$HOME").read({"PATH": os.environ["PATH"], "A": "b"}, tmp_path).reveal() == "b"


def test_command_has_nothing_to_read_from(tmp_path):
    """A prompt gets an end of file instead of waiting."""
    assert shell("cat; echo done").read(dict(os.environ), tmp_path).reveal() == "done"


def test_command_that_fails_shows_its_error_without_secrets(tmp_path):
    """Exit code and standard error; what was printed and what looks secret is masked."""
    script = 'echo hunter2hunter2; echo "cannot: hunter2hunter2 token=abcdefgh" >&2; exit 3'
    with pytest.raises(Misconfigured) as caught:
        shell(script).read(dict(os.environ), tmp_path)
    assert caught.value.message == (f"{PLACE}: 'sh' failed with exit code 3: \"cannot: [redacted] token=[redacted]\"")


def test_command_error_is_cut_and_printable(tmp_path):
    """Its end is what tells, on one line."""
    script = "for i in 1 2 3 4 5 6 7 8 9; do printf '\\033[31m%080d\\n' $i >&2; done; exit 1"
    with pytest.raises(Misconfigured) as caught:
        shell(script).read(dict(os.environ), tmp_path)
    assert len(caught.value.message) < 420
    assert caught.value.message.isprintable()


def test_command_ended_by_a_signal_says_so(tmp_path):
    """No exit code then."""
    with pytest.raises(Misconfigured, match="was ended by signal 15"):
        shell("kill -TERM $$").read(dict(os.environ), tmp_path)


def test_command_that_is_not_there_is_named(tmp_path):
    """The program, and why."""
    missing = SecretSource("command", "no-such-program", PLACE, argv=("no-such-program",))
    with pytest.raises(Misconfigured, match="cannot start 'no-such-program': No such file"):
        missing.read(dict(os.environ), tmp_path)


def test_command_that_prints_nothing_is_refused(tmp_path):
    """An empty secret is a mistake."""
    with pytest.raises(Misconfigured, match="printed nothing"):
        shell("true").read(dict(os.environ), tmp_path)


def test_command_that_never_stops_printing_is_stopped(tmp_path):
    """64 KiB, then it is killed."""
    with pytest.raises(Misconfigured, match="printed more than 64 KiB"):
        shell("yes").read(dict(os.environ), tmp_path)


def test_command_that_hangs_is_killed_with_its_children(tmp_path):
    """The whole process group ends, so nothing is left behind waiting for a password."""
    script = "sleep 600 & echo $! > child; wait"
    with pytest.raises(TryAgainLater, match="did not end within"):
        run_command(("sh", "-c", script), PLACE, dict(os.environ), tmp_path, timeout=0.5)
    child = int((tmp_path / "child").read_text())
    while _runs(child):  # the signal is on its way; the test's own timeout ends a wait in vain
        time.sleep(0.01)


def test_child_that_outlives_its_command_is_killed(tmp_path):
    """It holds the output open, so nobody can say that the output is complete."""
    with pytest.raises(TryAgainLater, match="did not end within"):
        run_command(("sh", "-c", "sleep 600 & echo $! > child"), PLACE, dict(os.environ), tmp_path, timeout=0.5)
    child = int((tmp_path / "child").read_text())
    while _runs(child):
        time.sleep(0.01)


def test_command_that_closes_its_output_and_hangs_is_killed(tmp_path):
    """The end of its output is not its end."""
    argv = (sys.executable, "-c", "import os, time; os.close(1); os.close(2); time.sleep(600)")
    with pytest.raises(TryAgainLater):
        run_command(argv, PLACE, dict(os.environ), tmp_path, timeout=0.5)


def test_command_in_a_folder_that_is_gone_is_refused(tmp_path):
    """Also an operator's matter."""
    with pytest.raises(Misconfigured, match="cannot start"):
        shell("true").read(dict(os.environ), tmp_path / "gone")
