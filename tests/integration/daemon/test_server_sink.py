"""A job that delivers to a server, through the command line and the configuration."""

from __future__ import annotations

import json
import secrets

import psycopg
import pytest


@pytest.fixture
def schema(place, postgresql_server):
    """The job `events`, delivering to a schema of its own; the URL is in a file."""
    name = f"rows_{secrets.token_hex(6)}"
    place.job("events", every=None, sink="warehouse")
    url = place.folder / "warehouse.url"
    url.write_text(postgresql_server)
    url.chmod(0o600)
    config = place.folder / "config.toml"
    sink = f'[sinks.warehouse]\ntype = "postgresql"\nurl_file = "warehouse.url"\nschema = "{name}"'
    config.write_text(f"{config.read_text()}\n\n{sink}\n")
    yield name
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


def test_run_delivers_to_a_server_exactly_once(place, schema, postgresql_server):
    """The first run ends early; the second goes on at its last checkpoint."""
    place.enroll()
    place.command("jobs", "run", "events", "--limit", "2")
    ended = place.command("--json", "jobs", "run", "events")
    assert (ended.returncode, place.states()) == (0, ["succeeded", "succeeded"]), ended.stderr
    with psycopg.connect(postgresql_server) as connection:
        rows = connection.execute(f"SELECT _account, number FROM {schema}.events ORDER BY 2").fetchall()
    assert (rows, place.runs()[-1].counts.rows) == ([("acme", number) for number in range(1, 6)], 3)


def test_run_whose_server_cannot_be_reached_is_tried_again_later(place, schema):
    """75, and the password is nowhere to be seen."""
    place.enroll()
    (place.folder / "warehouse.url").write_text("postgresql://worker:hush-hush@127.0.0.1:1/warehouse")
    ended = place.command("--json", "jobs", "run", "events")
    assert ended.returncode == 75, ended.stderr
    assert "sinks.warehouse: connection to server" in ended.stdout
    assert "hush-hush" not in ended.stdout + ended.stderr


def test_config_shows_a_servers_place_and_not_its_url(place, schema):
    """`config check` is content, and `config show` says where the URL comes from."""
    assert place.command("config", "check").returncode == 0
    shown = json.loads(place.command("--json", "config", "show").stdout)["sinks"]["warehouse"]
    assert (shown["type"], shown["schema"], shown["path"]) == ("postgresql", schema, None)
    assert "warehouse.url" in json.dumps(shown["url"])
