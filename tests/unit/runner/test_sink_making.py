from __future__ import annotations

import pytest

from worker.config.model import SinkConfig
from worker.config.secrets import SecretSource
from worker.errors import Misconfigured
from worker.jobs.sinks.jsonl import JsonlSink
from worker.jobs.sinks.jsonl_segments import Rotation
from worker.jobs.sinks.postgresql import PostgresqlSink
from worker.jobs.sinks.sqlite import SqliteSink
from worker.redact import Scrubber
from worker.runner.sink_making import SinkMaker
from worker.testing import ManualClock


@pytest.fixture
def maker(tmp_path):
    environ = {"URL": "postgresql://u:hush-hush@127.0.0.1:1/d", "OTHER": "mysql://u:hush-hush@h/d"}
    return SinkMaker(environ, tmp_path, Scrubber(), ManualClock(), tmp_path / "state")


def server(variable):
    """A sink whose URL is in the environment."""
    return SinkConfig("w", "postgresql", None, SecretSource("env", variable, "sinks.w.url_env"), "rows")


def test_sink_of_each_type_is_made_as_configured(maker, tmp_path):
    """Without opening anything."""
    files = SinkConfig("f", "jsonl", tmp_path / "f", rotate_bytes=2048, rotate_every=60.0)
    made = [maker.make(config) for config in (SinkConfig("s", "sqlite", tmp_path / "s"), files, server("URL"))]
    assert [type(sink) for sink in made] == [SqliteSink, JsonlSink, PostgresqlSink]
    assert (made[1].rotation, made[2].schema) == (Rotation(2048, 60.0), "rows")
    assert list(tmp_path.iterdir()) == []


def test_sink_password_is_learnt_before_it_is_used(maker):
    """Whatever is logged afterwards."""
    maker.make(server("URL")).server._read_url()
    assert "hush-hush" not in maker.scrubber("said hush-hush")


@pytest.mark.parametrize("variable", ["OTHER", "UNSET"])
def test_sink_url_that_is_none_is_named_and_not_shown(maker, variable):
    """By its place in the config."""
    with pytest.raises(Misconfigured, match=r"sinks\.w\.url_env") as caught:
        maker.make(server(variable)).server._read_url()
    assert "hush" not in caught.value.message
