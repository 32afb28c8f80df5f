"""The probe before something is spent: it fails where a commit would."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.store.store import Store

#: In a process of its own: the limit holds for every file that it writes.
_PROBE = """
import resource, sys
from worker.errors import WorkerError
from worker.store.database import Database
database = Database(sys.argv[1])
database.prove_writable()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
try:
    database.prove_writable()
except WorkerError as error:
    print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
database.prove_writable()
"""


def test_probe_fails_when_nothing_can_be_written(sqlite_store: Store) -> None:
    """An update to what stands there already would pass: SQLite writes no page for it."""
    url = f"sqlite:///{sqlite_store.database.path}"
    done = subprocess.run([sys.executable, "-c", _PROBE, url], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


def test_probe_leaves_nothing_behind(store: Store) -> None:
    """Neither a row nor a credential."""
    store.database.prove_writable()
    assert store.secrets.list() == []
