"""What deployment tests share: the repository's files, and tools that may be missing on a developer's machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def needed() -> Callable[[str], str]:
    """Finds a program. Without it the test is skipped, and fails in CI, which has to install it."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            reason = f"there is no {name} on this machine"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
        return found

    return find


@pytest.fixture(scope="session")
def settings() -> Callable[[Path], list[tuple[str, str]]]:
    """Reads the settings of a unit's [Service] section, in their order."""

    def read(unit: Path) -> list[tuple[str, str]]:
        found, section = [], ""
        for line in unit.read_text().splitlines():
            if line.startswith("["):
                section = line
            elif section == "[Service]" and line and not line.startswith("#"):
                name, _, value = line.partition("=")
                found.append((name, value))
        return found

    return read
