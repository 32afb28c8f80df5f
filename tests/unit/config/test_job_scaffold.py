"""What `worker jobs new` writes."""

from __future__ import annotations

import importlib.util
import sys
import tomllib

import pytest

from worker.config.load import load
from worker.config.scaffold import scaffold
from worker.errors import UsageFault
from worker.jobs.loading import load_jobs

CONFIG = '[keyring]\nfile = "worker.key"\n[integrations.books]\nclient_id = "x"\ntoken_url = "https://a.test/t"\n'


@pytest.fixture
def config(tmp_path):
    """Answers the configuration, with more at its end if there is more."""

    def read(more=""):
        path = tmp_path / "config.toml"
        path.write_text(CONFIG + more)
        return load(path, {})

    return read


@pytest.fixture
def made(config, tmp_path):
    """A job that was begun: its folder."""
    folder = tmp_path / "jobs"
    folder.mkdir(mode=0o755)
    for path, text in scaffold("late-orders", folder, config(), "books").files.items():
        path.write_text(text)
        path.chmod(0o644)
    return folder


def test_scaffold_is_a_job_that_loads(made):
    """Dashes of its name are underlines in its file."""
    catalog = load_jobs([made])
    assert (list(catalog.jobs), catalog.faults) == (["late_orders.late_orders"], ())


def test_scaffold_tests_pass_at_once(made, monkeypatch):
    """All of them."""
    monkeypatch.syspath_prepend(made)
    spec = importlib.util.spec_from_file_location("test_late_orders", made / "test_late_orders.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    monkeypatch.delitem(sys.modules, "late_orders")
    for test in tests:
        test()
    assert len(tests) == 3


def test_scaffold_s_lines_are_what_the_config_takes(config, tmp_path):
    """With the sink that is there."""
    before = '[sinks.local]\ntype = "sqlite"\npath = "data.db"\n'
    toml = scaffold("late-orders", tmp_path, config(before), "books").toml
    job = config(before + toml).jobs["late-orders"]
    assert (job.uses, job.integration, job.every, job.sink) == ("late_orders.late_orders", "books", 900.0, "local")
    assert "sink" not in tomllib.loads(scaffold("late", tmp_path, config(), "books").toml)["jobs"]["late"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil", "is no name for a job"),
        ("späte", "is no name for a job"),
        ("", "is no name for a job"),
        ("7up", "is no name for a job"),
        ("class", "a word of Python's own"),
        ("match", "a word of Python's own"),
        ("json", "would hide in tests"),
        ("requests", "would hide in tests"),
        ("worker", "would hide in tests"),
        ("test-orders", "what pytest calls its files"),
        ("conftest", "what pytest calls its files"),
    ],
)
def test_scaffold_refuses_names_that_cannot_be(name, said, config, tmp_path):
    """With one that can."""
    with pytest.raises(UsageFault, match=said) as caught:
        scaffold(name, tmp_path, config(), "books")
    advised = caught.value.hint.rpartition(" ")[2]
    assert scaffold(advised, tmp_path, config(), "books").files


def test_scaffold_refuses_the_name_of_another_job(config, tmp_path):
    """Its lines would stand there twice."""
    other = '[jobs.orders]\nuses = "shop.orders"\nintegration = "books"\n'
    with pytest.raises(UsageFault, match=r"\[jobs\.orders\] is in .* already, and uses shop\.orders"):
        scaffold("orders", tmp_path, config(other), "books")
