"""The Dockerfile, read as instructions: what ends up in the image, as whom it runs, and what it must not contain."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch

import pytest


@pytest.fixture(scope="session")
def stages(root):
    """Stages, each a list of (instruction, its text)."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", (root / "Dockerfile").read_text(), flags=re.MULTILINE))
    found = []
    for line in filter(None, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest.strip()))
    return found


@pytest.fixture(scope="session")
def final(stages):
    """The last stage: what is shipped. Of an instruction that stands twice, the last one."""
    return dict(stages[-1])


def commands(stage):
    return [text for word, text in stage if word == "RUN"]


def test_image_is_built_in_two_stages(stages):
    """What builds does not ship."""
    assert len(stages) == 2


def test_image_runs_as_a_numbered_user_that_is_not_root(final):
    """A number, so that Kubernetes' runAsNonRoot can tell."""
    assert int(final["USER"].partition(":")[0]) >= 1000


def test_image_starts_the_daemon(final):
    """`docker run IMAGE` is the daemon, `docker run IMAGE once` the one shot."""
    assert (json.loads(final["ENTRYPOINT"]), json.loads(final["CMD"])) == (["worker"], ["run"])


def test_image_stops_by_sigterm(final):
    """What the daemon drains on."""
    assert final["STOPSIGNAL"] == "SIGTERM"


def test_image_is_unwell_only_when_the_daemon_is(final):
    """An account that needs consent is no reason to restart anything."""
    assert json.loads(final["HEALTHCHECK"].partition("CMD ")[2]) == ["worker", "status", "--alive"]


def test_image_takes_packages_from_the_lock_by_hash(stages):
    """Every install names the lock and asks for hashes, or takes nothing from outside."""
    installs = [part for text in commands(stages[0]) for part in text.split("&&") if "pip install" in part]
    assert [
        part
        for part in installs
        if not ("--require-hashes" in part and "requirements.lock" in part) and "--no-index" not in part
    ] == []


def test_image_compiles_nothing(stages):
    """Built packages only, and no package manager to fetch a compiler with."""
    text = " ".join(text for stage in stages for text in commands(stage))
    assert ("--only-binary :all:" in text, re.findall(r"\b(?:apt|apt-get|apk|gcc|make)\b", text)) == (True, [])


def test_image_leaves_pip_behind(stages):
    """What is shipped cannot install anything into itself."""
    assert re.search(r"pip uninstall --yes [^&]*\bpip\b", " ".join(commands(stages[0])))


def test_image_holds_program_and_jobs(stages, root):
    """Both are copied from places that are there."""
    copied = [text.split()[:-1] for stage in stages for word, text in stage if word == "COPY" and "--from" not in text]
    sources = {source for words in copied for source in words}
    assert {"worker/", "jobs/"} <= sources
    assert [source for source in sources if not (root / source).exists()] == []


def test_ignore_list_lets_in_what_is_copied(stages, root):
    """And starts from nothing."""
    lines = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let_in = [line[1:].rstrip("/") for line in lines if line.startswith("!")]
    copied = {
        source.rstrip("/")
        for stage in stages
        for word, text in stage
        if word == "COPY" and "--from" not in text
        for source in text.split()[:-1]
    }
    assert (lines[0], copied - set(let_in)) == ("*", set())


@pytest.mark.parametrize("name", ["worker.key", "config.toml", "state/worker.db", ".git/config", ".venv/bin/python"])
def test_ignore_list_keeps_private_things_out(root, name):
    """Keys, configuration, stores and history."""
    allowed = [line[1:].rstrip("/") for line in (root / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    assert not [entry for entry in allowed if fnmatch(name, entry) or name.startswith(f"{entry}/")]


@pytest.mark.parametrize("name", ["Dockerfile", "systemd/README.md", "systemd/worker", "docs/deployment.md"])
def test_deployment_names_no_index_and_no_secret(root, name):
    """Where packages come from is the machine's own affair."""
    text = (root / name).read_text()
    assert re.findall(r"--(?:extra-)?index-url|--trusted-host|PIP_INDEX_URL|https?://\S*(?:pypi|simple)\S*", text) == []
