"""What each provider's token endpoint sends, read with the dialect that its preset builds: `preset_answers.json`, each
row with its source. Shapes are the providers', values are made up. The config is the one that the preset's page shows.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from worker.accounts.client import Client, ClientSettings
from worker.config.load import load
from worker.config.preset_files import preset_names
from worker.jobs.addresses import origin
from worker.oauth.verdict import read_token_answer
from worker.testing.manual_clock import ManualClock

PAGES = Path(__file__).resolve().parents[3] / "docs" / "presets"
ROWS = json.loads(Path(__file__).with_name("preset_answers.json").read_text(encoding="utf-8"))
NOW = 1_800_000_000.0


def _rows(wanted=lambda _: True):
    chosen = [(number, row) for number, row in enumerate(ROWS) if wanted(row)]
    return [pytest.param(row, id=f"{row['preset']}-{number}-{row['case']}") for number, row in chosen]


@pytest.fixture
def client(tmp_path):
    """The client of a preset, by the config on its page."""

    def build(preset):
        config = tmp_path / "config.toml"
        page = (PAGES / f"{preset}.md").read_text(encoding="utf-8")
        config.write_text(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0], encoding="utf-8")
        (integration,) = load(config, {}).integrations.values()
        return Client(integration, lambda: None, ClientSettings(ManualClock(NOW), "test"))

    return build


@pytest.fixture
def read(client):
    """What a row's answer is taken for."""

    def outcome(row):
        body = row["body"] if isinstance(row["body"], str) else json.dumps(row["body"])
        headers = {"Content-Type": row.get("content_type", "application/json"), **row.get("headers", {})}
        return read_token_answer(row["status"], headers, body.encode(), now=NOW, dialect=client(row["preset"]).dialect)

    return outcome


@pytest.mark.parametrize("row", _rows())
def test_preset_reads_an_answer_as_what_it_is(read, row):
    """Tokens, a dead grant, a passing fault or the client's fault."""
    assert read(row).kind == row["expect"]


@pytest.mark.parametrize("row", _rows(lambda row: "tokens" in row))
def test_preset_finds_the_tokens(read, row):
    """Refresh token, lifetimes and scopes, whatever they are called and wherever they lie."""
    tokens = read(row).tokens
    found = {name: getattr(tokens, name) for name in row["tokens"]}
    found["scopes"] = None if tokens.scopes is None else list(tokens.scopes)
    assert found == {"scopes": found["scopes"], **row["tokens"]}
    assert tokens.token_type == "Bearer"


@pytest.mark.parametrize("row", _rows(lambda row: "after" in row))
def test_preset_waits_as_long_as_it_is_told(read, row):
    """Whole."""
    assert read(row).after == row["after"]


@pytest.mark.parametrize("preset", preset_names())
def test_preset_s_codes_are_needed(client, preset):
    """Each code that a preset sets reads an answer which the general rules would misread."""
    dialect = client(preset).dialect
    for code in (*dialect.dead_errors, *dialect.transient_errors, *dialect.client_errors):
        bodies = [(row, json.dumps(row["body"])) for row in ROWS if row["preset"] == preset]
        said = [(row, body.encode()) for row, body in bodies if code in body]
        assert any(read_token_answer(row["status"], {}, body, now=NOW).kind != row["expect"] for row, body in said), (
            code
        )


@pytest.mark.parametrize("preset", preset_names())
def test_preset_has_an_answer_of_every_kind(preset):
    """A new preset without recorded answers is not finished."""
    cases = {row["case"] for row in ROWS if row["preset"] == preset}
    assert {"granted", "rotated", "dead", "transient", "client"} <= cases


@pytest.mark.parametrize("row", _rows(lambda row: isinstance(row["body"], dict) and "instance_url" in row["body"]))
def test_preset_sends_the_token_to_the_instance_that_the_answer_names(client, row):
    """The API base is known beforehand, and is no other."""
    integration = client(row["preset"]).integration
    assert origin(row["body"]["instance_url"]) in {origin(place) for place in integration.api_origins}
