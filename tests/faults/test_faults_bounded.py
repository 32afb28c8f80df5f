"""The bounded part of `make faults`: at least one stop in every step of every operation, under every fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fault_harness import syscalls
from fault_harness.operations import ALL
from fault_harness.sweep import CALLS

_HARNESS = Path(__file__).parent
#: Columns of the table in one test: so many that its start hardly counts, so few that the tests can share the cores.
_TOGETHER = 4
#: Kinds of spoiling a store that the oracle has to notice: SQL, and the words of its complaint.
_SPOILT = {
    "a dead end although the grant lives": (
        "refresh:0000:exit",
        "UPDATE account SET state = 'needs_consent', cause = 'revoked', reason = 'nothing of the kind'",
        "no human is needed",
    ),
    "revoked said for lost": (
        "refresh+timeout_after:0000:exit",
        "DELETE FROM refresh_intent; UPDATE grant_ SET doubt = ''; UPDATE account SET state = 'active'",
        "the token was lost in rotation, and it says",
    ),
    "a ciphertext that does not open": (
        "refresh:0000:exit",
        "UPDATE grant_ SET sealed_identity = zeroblob(60)",
        "does not open",
    ),
    "a refresh that nobody speaks of": (
        "checkpoint-sqlite:0001:exit",
        "UPDATE schedule SET next_due = NULL; UPDATE account SET integration = 'elsewhere'",
        "no human is needed",
    ),
}


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the harness as `make faults` does: its trials are forks, which want a process without threads."""
    command = [sys.executable, str(_HARNESS), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=_HARNESS)


def parts() -> list[tuple[str, tuple[str, ...]]]:
    """Each operation with some of its faults."""
    found = []
    for name, operation in ALL.items():
        columns = [*(fault.name for fault in operation.faults), CALLS]
        found += [(name, tuple(columns[at : at + _TOGETHER])) for at in range(0, len(columns), _TOGETHER)]
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("operation", "columns"), parts())
def test_faults_process_stopped_at_any_step_goes_on_or_says_why(operation, columns):
    """A line in every step under every fault, and a system call: no violation, and every step was found."""
    unable = syscalls.missing()
    if unable and CALLS in columns:
        assert "CI" not in os.environ or "not installed" not in unable, unable
        if columns == (CALLS,):
            pytest.skip(unable)
    chosen = [word for column in columns for word in ("--fault", column)]
    done = harness("--sample", "--jobs", "1", "--json", "--operation", operation, *chosen)
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert (said["violations"], said["unseen"]) == ([], [])
    assert said["trials"] > 0
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", _SPOILT)
def test_faults_oracle_notices_a_store_that_was_spoilt(kind):
    """The harness can fail: what was spoilt between the stop and the restart is a violation, with its reason."""
    trial, tamper, words = _SPOILT[kind]
    done = harness("--only", trial, "--tamper", tamper)
    assert (done.returncode, words in done.stdout) == (1, True), done.stdout + done.stderr


def test_faults_list_names_every_operation():
    """What the issue asks for: refresh, enrolment, checkpoint, key rotation, migration, restore."""
    wanted = {"refresh", "enrolment", "checkpoint-sqlite", "checkpoint-jsonl", "key-rotation", "migration", "restore"}
    assert wanted <= set(ALL)
