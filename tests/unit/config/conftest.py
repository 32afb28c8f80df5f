"""A config file in a folder of its own, loaded for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.config.load import load
from worker.config.model import Config
from worker.errors import ConfigProblems

INTEGRATION = """
[integrations.arlo]
client_id = "c"
token_url = "https://auth.example.com/token"
api_base = "https://api.example.com/v1/"
"""

JOB = """
[jobs.invoices]
uses = "billing.invoices"
integration = "arlo"
every = "15m"
"""


class ConfigFolder:
    """Writes `config.toml` and tells what loading it brings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "config.toml"

    def write(self, text: str | bytes) -> Path:
        """Write the file."""
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.file

    def load(self, text: str | bytes, environ: dict[str, str] | None = None) -> Config:
        """Write and load."""
        return load(self.write(text), environ or {})

    def problems(self, text: str | bytes) -> dict[str, str]:
        """Write and load a faulty file: place -> what is wrong (several at one place are joined)."""
        with pytest.raises(ConfigProblems) as caught:
            self.load(text)
        found: dict[str, str] = {}
        for place, what in caught.value.problems:
            found[place] = f"{found[place]} / {what}" if place in found else what
        return found

    def warnings(self, text: str) -> dict[str, str]:
        """Write and load a doubtful file: place -> what is doubtful."""
        return dict(self.load(text).warnings)


@pytest.fixture
def folder(tmp_path: Path) -> ConfigFolder:
    """An empty folder for a config file."""
    return ConfigFolder(tmp_path)


@pytest.fixture
def integration() -> str:
    """A sound integration, `arlo`."""
    return INTEGRATION


@pytest.fixture
def job() -> str:
    """A sound job, `invoices`, of the integration `arlo`."""
    return JOB
