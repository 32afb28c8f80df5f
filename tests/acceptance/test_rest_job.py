"""docs/rest.md followed to the letter: its config, its commands, rows in the file. No code at all."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest
from json_api import JsonApi
from workplace import REPOSITORY, Workplace

from worker.sandbox import Sandbox, SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = (REPOSITORY / "docs" / "rest.md").read_text(encoding="utf-8")


@pytest.fixture
def followed(workplace: Workplace) -> Iterator[tuple[Workplace, JsonApi]]:
    """The folder as the document makes it, with the document's addresses as those of a local provider."""
    with Sandbox(SandboxConfig(rows=1, rate_limit=0)) as sandbox, JsonApi(sandbox) as api:
        config = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0]
        for written, local in (
            ("my-client", sandbox.client_id),
            ("https://auth.crm.example/authorize", sandbox.authorize_url),
            ("https://auth.crm.example/token", sandbox.token_url),
            ("https://api.crm.example/v1/", api.base),
        ):
            assert written in config
            config = config.replace(written, local)
        workplace.configure(config)
        workplace("secrets", "set", "crm", "client_secret", given=f"{sandbox.client_secret}\n")
        token = sandbox.grant("acme", ["read", "offline_access"])["refresh_token"]
        workplace("enroll", "crm", "acme", "--import-token", given=f"{token}\n")
        api.fill("customers", 5)
        yield workplace, api


def test_rest_job_is_tried_listed_and_run(followed: tuple[Workplace, JsonApi]) -> None:
    """The commands of the page, and what they leave."""
    place, api = followed
    for line in re.findall(r"^(worker .*?)(?: +#.*)?$", TEXT, re.MULTILINE)[:2]:
        place(*line.split()[1:])
    tried = place.history[-1]
    assert ("customers: 5 rows" in tried.out, (place.folder / "state" / "data.db").exists()) == (True, False)
    misspelt = place("jobs", "run", "crm", "--since", "custmers=2026-01-01T00:00:00Z", expect=2)
    assert "those with incremental: customers" in misspelt.err
    listed = place("jobs", "list", "--json").json[0]
    assert (listed["uses"], listed["fault"], listed["description"]) == ("rest", None, "Reads customers.")
    assert place("jobs", "run", "crm", "--json").json[0]["rows"] == 5
    with contextlib.closing(sqlite3.connect(place.folder / "state" / "data.db")) as rows:
        found = rows.execute("SELECT id, name, updated_at, _account FROM customers ORDER BY id").fetchall()
    assert found == [(*row.values(), "acme") for row in api.collections["customers"]]
    assert place("doctor", expect=None).code != 78
