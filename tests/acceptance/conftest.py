"""What the acceptance tests need of the machine: tools, packages, working folders.

A missing tool is a skip on a developer's machine, and a failure where CI=true: there, `.ci/run` installs them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from workplace import REPOSITORY, Workplace, make_workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
#: Where npm's packages go: outside the tree, and kept from one run of the tests to the next.
CACHE = REPOSITORY / ".cache"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is an acceptance test."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.acceptance)


def missing(reason: str) -> None:
    """Skip, or fail where nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_tool(name: str) -> str:
    """The path of a command."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed")
    return str(found)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time: pytest-xdist runs several."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def oidc_packages() -> Path:
    """The folder with oidc-provider's node_modules, installed when the lock has changed."""
    require_tool("node")
    npm = require_tool("npm")
    files = [HERE / "oidc-provider" / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    folder = CACHE / f"oidc-provider-{digest}"
    with alone(CACHE / "oidc-provider.lock"):
        if not folder.exists():
            fresh = CACHE / f"oidc-provider-{os.getpid()}"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            for path in files:
                shutil.copy(path, fresh)
            command = [npm, "ci", "--ignore-scripts"]
            done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=150, check=False)
            if done.returncode:
                shutil.rmtree(fresh)
                missing(f"npm ci failed: {done.stderr[-500:]}")
            fresh.rename(folder)
    return folder


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    """A folder made by `worker init`."""
    return make_workplace(tmp_path)


@pytest.fixture(scope="session")
def played_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Plays a story once in a session of tests, however many processes ask for what it brought to light."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared

    def play_once(name: str, play: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        path = shared / f"{name}.json"
        with alone(shared / f"{name}.lock"):
            if not path.exists():
                try:
                    facts = play(tmp_path_factory.mktemp(name))
                except Exception:  # noqa: BLE001 - each test that asks is told
                    facts = {"failed": traceback.format_exc()}
                path.write_text(json.dumps(facts))
        facts = json.loads(path.read_text())
        if "failed" in facts:
            pytest.fail(f"the story broke off:\n{facts['failed']}", pytrace=False)
        return dict(facts)

    return play_once
