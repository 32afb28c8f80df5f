"""docs/try.md, followed to the letter: its config, its commands, its handles; only the port is a free one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from workplace import REPOSITORY, Workplace

from worker.sandbox import give_consent

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = (REPOSITORY / "docs" / "try.md").read_text(encoding="utf-8")
#: Handle -> the line that pulls it.
HANDLES = {name: line for line, name in re.findall(r"^\$ (curl .*/_control/(\w+))$", TEXT, re.MULTILINE)}


@contextmanager
def provider() -> Iterator[dict[str, Any]]:
    """The document's command, on a free port; answers its READY line."""
    found = re.search(r"^\$ python (-m worker\.sandbox .*)$", TEXT, re.MULTILINE)
    assert found is not None
    command = [sys.executable, *found[1].replace("8899", "0").split(), "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline().removeprefix("READY "))
        finally:
            process.terminate()


@pytest.fixture
def followed(workplace: Workplace) -> Iterator[tuple[Workplace, str]]:
    """The folder as the document makes it, with alice enrolled, and the provider's port."""
    with provider() as ready:
        port = ready["base_url"].rpartition(":")[2]
        shutil.copy(REPOSITORY / "jobs" / "arlo.py", workplace.folder / "jobs")
        (config,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
        workplace.configure(config.replace("8899", port))
        workplace("secrets", "set", "arlo", "client_secret", given="sandbox-secret\n")
        workplace("config", "check")
        workplace.paste("alice", lambda url: give_consent(url, "alice"), integration="arlo")
        yield workplace, port


def pull(handle: str, port: str) -> Any:
    """The document's line, run by a shell."""
    done = subprocess.run(
        HANDLES[handle].replace("8899", port), shell=True, capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_followed_to_the_letter_the_document_leads_to_rows(followed: tuple[Workplace, str]) -> None:
    """And each of its handles does what it says."""
    if shutil.which("curl") is None:
        pytest.skip("the document's lines need curl")
    place, port = followed
    run = ("jobs", "run", "registrations", "--account", "alice")
    place(*run)
    assert pull("expire", port)["expired"] > 0
    pull("insert", port)
    place(*run)
    assert place.runs("alice")[-1]["rows"] >= 5
    pull("expire", port)
    pull("fault", port)
    assert place(*run, expect=None).code == 75
    pull("clear_faults", port)
    pull("revoke", port)
    assert pull("stats", port)["active_grants"] == 0


def test_revoked_grant_is_mended_as_the_document_says(followed: tuple[Workplace, str]) -> None:
    """Status 3, and the same command enrols again."""
    if shutil.which("curl") is None:
        pytest.skip("the document's lines need curl")
    place, port = followed
    pull("revoke", port)
    assert place("jobs", "run", "registrations", "--account", "alice", expect=None).code == 3
    place("status", expect=3)
    place.paste("alice", lambda url: give_consent(url, "alice"), integration="arlo")
    place("status", expect=0)
