"""Many signals at once. A handler runs between any two instructions of the main thread: one that takes a lock which
that thread holds would wait for ever.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

#: Seconds. No claim of any test: where a shared machine is this slow, something hangs.
PATIENCE = 90.0


def test_daemon_ends_in_order_after_a_storm_of_reloads(tmp_path):
    """Each SIGHUP may fall between any two instructions; SIGTERM is heard all the same."""
    subprocess.run([sys.executable, "-m", "worker", "init", str(tmp_path)], check=True, capture_output=True)
    with (tmp_path / "out.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "worker", "run"], cwd=tmp_path, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while '"ready"' not in (tmp_path / "out.log").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for _ in range(2000):
            os.kill(process.pid, signal.SIGHUP)
            time.sleep(0.0005)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait(PATIENCE)
