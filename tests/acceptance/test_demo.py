"""`worker demo`: the installed command, in a folder of its own, with everything that it starts."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

WORKER = str(Path(sys.executable).with_name("worker"))
#: Seconds; the story takes half a minute on an idle machine.
LIMIT = 170
STEPS = [
    "provider", "folder", "consent", "daemon", "copy", "expiry", "forbidden", "revocation", "outage", "reconsent",
    "catch_up", "stop", "figures",
]  # fmt: skip


@pytest.fixture
def fresh(tmp_path):
    """An empty folder to call from, and one for temporary files."""
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    return tmp_path


def environment(fresh):
    return {**os.environ, "TMPDIR": str(fresh / "temporary"), "PYTHONIOENCODING": "utf-8"}


def start(fresh, *options, **streams):
    return subprocess.Popen(
        [WORKER, "demo", *options], cwd=fresh / "here", env=environment(fresh), text=True, **streams
    )


def story_folders(fresh):
    return [path for path in (fresh / "temporary").iterdir() if path.name.startswith("worker-demo-")]


def is_gone(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return False


def process_numbers(text):
    """The provider's and the daemon's process, as the story tells them; a terminal may show one again and again."""
    return list(dict.fromkeys(int(number) for number in re.findall(r"\(process (\d+)\)", text)))


def take_terminal():
    """Make the terminal on standard input the controlling one, so that Ctrl-C means something."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def told_until(stream, words):
    """What is told up to the line with these words."""
    told = []
    for line in stream:
        told.append(line)
        if words in line:
            return "".join(told)
    raise AssertionError(f"{words!r} was never told:\n{''.join(told)}")


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """One whole story with --json: the document, what was told, and the place where it played."""
    place = tmp_path_factory.mktemp("demo")
    (place / "here").mkdir()
    (place / "temporary").mkdir()
    with start(place, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        document, told = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, told
    return json.loads(document), told, place


def test_demo_plays_every_step(played):
    """All steps of the story happen, in their order."""
    document, _, _ = played
    assert document["ok"]
    assert document["failed_step"] is None
    assert [step["name"] for step in document["steps"] if step["done"]] == STEPS


def test_demo_closes_with_a_table(played):
    """The last thing told is a table with a line for each account and their sum."""
    document, told, _ = played
    lines = told[told.index("What happened") :].splitlines()
    heads = lines[1].split("  ")
    assert [head.strip() for head in heads if head.strip()] == [
        "ACCOUNT", "STATE", "RUNS", "FAILED", "SKIPPED", "MADE UP", "ROWS", "SOURCE", "REFRESHES", "CONSENTS",
        "FLAGS", "TOKEN CALLS",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[2:6]] == ["arlo/alice", "arlo/bob", "arlo/carol", "all"]
    assert [row["account"] for row in document["accounts"]] == ["arlo/alice", "arlo/bob", "arlo/carol", "all"]


def test_demo_flags_bob_alone_and_makes_up_what_he_missed(played):
    """One account is flagged once; its missed runs are made up; everybody has every row of the source."""
    rows = {row["account"]: row for row in played[0]["accounts"]}
    assert [rows[name]["flags"] for name in ("arlo/alice", "arlo/bob", "arlo/carol")] == [0, 1, 0]
    assert rows["arlo/bob"]["made_up"] >= 2
    assert rows["arlo/bob"]["skipped"] >= 2
    assert rows["all"]["rows"] == rows["all"]["source"]
    assert rows["arlo/alice"]["failed"] == rows["arlo/carol"]["failed"] == 0


def test_demo_shows_the_link_alone_on_its_line(played):
    """The link that mends the account can be copied whole."""
    _, told, _ = played
    (link,) = [line for line in told.splitlines() if line.startswith("http")]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/oauth/connect/authorize\?\S+", link)


def test_demo_leaves_nothing_behind(played):
    """No process, no folder, and nothing in the place it was called from."""
    _, told, place = played
    numbers = process_numbers(told)
    assert len(numbers) == 2
    assert all(map(is_gone, numbers))
    assert story_folders(place) == []
    assert list((place / "here").iterdir()) == []


@pytest.mark.parametrize("victim", ["provider", "daemon"])
def test_demo_names_the_step_that_a_killed_process_breaks(fresh, victim):
    """A process that dies in the middle fails the story: exit code 1, the step named, the evidence kept."""
    with start(fresh, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        told = told_until(process.stdout, "the daemon works")
        provider, daemon = process_numbers(told)
        os.kill(provider if victim == "provider" else daemon, signal.SIGKILL)
        rest, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    named = re.search(r'The step "(\w+)" did not happen', rest)
    assert named, rest
    assert named[1] in STEPS[STEPS.index("daemon") :]
    assert f"the {victim} (process {provider if victim == 'provider' else daemon}) was killed by SIGKILL" in rest
    assert is_gone(provider)
    assert is_gone(daemon)
    (folder,) = story_folders(fresh)
    assert (folder / "daemon.log").stat().st_size > 0


def test_demo_on_a_terminal_ends_everything_on_interrupt(fresh):
    """A person sees the accounts as a table; Ctrl-C ends both processes and takes the folder away."""
    ours, theirs = pty.openpty()
    process = start(fresh, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=take_terminal)
    os.close(theirs)
    seen = bytearray()
    ready = threading.Event()

    def watch():
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            seen.extend(part)
            if b"the daemon works" in seen and b"SKIPPED" in seen:
                ready.set()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    assert ready.wait(LIMIT), seen.decode(errors="replace")
    os.write(ours, b"\x03")
    assert process.wait(LIMIT) == 130
    watcher.join(10)
    os.close(ours)
    numbers = process_numbers(seen.decode())
    assert len(numbers) == 2
    assert all(map(is_gone, numbers))
    assert story_folders(fresh) == []
