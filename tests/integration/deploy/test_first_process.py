"""As PID 1 of a container: the kernel gives it no signal that it does not handle. In a real PID namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

#: Seconds. No claim of any test: where a shared machine is this slow, something hangs.
PATIENCE = 90.0
NAMESPACE = ["--pid", "--fork", "--kill-child", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]


@pytest.fixture
def folder(tmp_path):
    """What `worker init` writes."""
    subprocess.run([sys.executable, "-m", "worker", "init", str(tmp_path)], check=True, capture_output=True)
    return tmp_path


@pytest.fixture
def first(folder, needed):
    """Starts a command as PID 1; answers unshare's process and our number for the command."""
    unshare = needed("unshare")
    if subprocess.run([unshare, *NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets us make no PID namespace")
    started = []

    def start(*words):
        log = (folder / "out.log").open("wb")
        process = subprocess.Popen(
            [unshare, *NAMESPACE, sys.executable, "-m", "worker", *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        started.append(process)
        return process, _until(lambda: _child(process.pid))

    yield start
    for process in started:
        process.kill()
        process.wait(PATIENCE)


def _child(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def _until(condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_daemon_as_first_process_ends_in_order_on_sigterm(first, folder):
    """Drained, with exit code 0."""
    process, number = first("run")
    _until(lambda: '"ready"' in (folder / "out.log").read_text())
    os.kill(number, signal.SIGTERM)
    assert (process.wait(PATIENCE), '"stopped"' in (folder / "out.log").read_text()) == (0, True)


def test_other_command_as_first_process_ends_on_sigterm(first, folder):
    """With the code that shells give for it."""
    subprocess.run([sys.executable, "-m", "worker", "store", "migrate"], cwd=folder, check=True, capture_output=True)
    process, number = first("status", "--watch")
    _until(lambda: "daemon" in (folder / "out.log").read_text())
    os.kill(number, signal.SIGTERM)
    assert process.wait(PATIENCE) == 128 + signal.SIGTERM
