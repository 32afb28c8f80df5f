"""A command as a route: what it gets, and what becomes of one that fails or hangs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from worker.notify.command import Command
from worker.notify.message import Message
from worker.notify.route import NotDelivered

ITEM = {"integration": "arlo", "account": "acme", "cause": "revoked", "remedy": "worker enroll arlo acme"}
MESSAGE = Message("msg_1", "needs_consent", "a title", "a text", {"type": "needs_consent", "data": {"items": [ITEM]}})


@pytest.fixture
def command(tmp_path, scrubber):
    """A shell script as a route."""
    return lambda script: Command(("sh", "-c", script), dict(os.environ), tmp_path, scrubber)


def test_command_gets_document_and_outline(command, tmp_path):
    """JSON on standard input, the rest in its environment, in the folder of the config."""
    command("cat > told.json; echo $WORKER_EVENT $WORKER_ACCOUNT $WORKER_COUNT > outline").send(MESSAGE, 20)
    assert json.loads((tmp_path / "told.json").read_text()) == MESSAGE.document
    assert (tmp_path / "outline").read_text() == "needs_consent acme 1\n"


def test_command_need_not_read(command):
    """One that looks at its environment alone takes the message, too, however long it is."""
    long = Message("msg_1", "needs_consent", "t", "t", {"data": {"items": [ITEM], "padding": "x" * 500_000}})
    command("exit 0").send(long, 20)


def test_long_document_arrives_whole(command, tmp_path):
    """A pipe holds 64 KiB at a time."""
    long = Message("msg_1", "needs_consent", "t", "t", {"data": {"items": [ITEM], "padding": "x" * 500_000}})
    command("cat > told.json").send(long, 20)
    assert json.loads((tmp_path / "told.json").read_text()) == long.document


def test_failing_command_is_told_with_its_last_words(command):
    """Exit code and standard error, without what looks secret."""
    with pytest.raises(NotDelivered, match='failed with exit code 3: "no network') as caught:
        command("echo 'no network, access_token=abcdefgh123' >&2; exit 3").send(MESSAGE, 20)
    assert "abcdefgh123" not in str(caught.value)


def test_hanging_command_is_killed_with_its_children(command, tmp_path, until):
    """The whole process group ends with its time."""
    with pytest.raises(NotDelivered, match="did not end within"):
        command("sleep 300 & echo $! > child; wait").send(MESSAGE, 1.0)
    number = int((tmp_path / "child").read_text())

    def gone():
        try:
            return Path(f"/proc/{number}/stat").read_text().split()[2] == "Z"
        except FileNotFoundError:
            return True

    until(gone, "the child's end")


def test_missing_command_is_told(tmp_path, scrubber):
    """It cannot be started."""
    with pytest.raises(NotDelivered, match="cannot start"):
        Command(("/nowhere/page",), dict(os.environ), tmp_path, scrubber).send(MESSAGE, 20)
