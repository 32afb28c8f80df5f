"""The systemd units: what systemd itself says of them, and that they agree with each other and with the program."""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest

from worker.config.load import load
from worker.engines import heartbeat
from worker.store.database import LOCK_WAIT

UNITS = ("worker.service", "worker-once.service", "worker-once.timer")
SERVICES = UNITS[:2]
PROGRAM = "/opt/worker/bin/worker"
#: In tenths, as systemd-analyze takes it: 1.5 of 10.
MOST_EXPOSURE = "15"


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def seconds(span):
    """A systemd time span of one unit."""
    number, unit = re.fullmatch(r"(\d+)(s|min)", span).groups()
    return int(number) * {"s": 1, "min": 60}[unit]


@pytest.fixture
def installed(root, tmp_path):
    """The units in one folder, with a program that exists here in place of ours."""
    for name in UNITS:
        (tmp_path / name).write_text((root / "systemd" / name).read_text().replace(PROGRAM, "/bin/true"))
    return tmp_path


@pytest.mark.parametrize("name", UNITS)
def test_unit_is_verified_without_a_word(installed, needed, name):
    """`systemd-analyze verify`: no unknown setting, no warning."""
    ended = run(needed("systemd-analyze"), "verify", "--recursive-errors=yes", "--man=no", str(installed / name))
    ours = [line for line in ended.stderr.splitlines() if "worker" in line]
    assert (ended.returncode, ours) == (0, [])


@pytest.mark.parametrize("name", SERVICES)
def test_unit_exposes_little(installed, needed, name):
    """`systemd-analyze security`: at most 1.5 of 10."""
    ended = run(
        needed("systemd-analyze"),
        "security",
        "--offline=true",
        "--no-pager",
        f"--threshold={MOST_EXPOSURE}",
        str(installed / name),
    )
    assert ended.returncode == 0, ended.stdout.splitlines()[-1]


def test_units_confine_alike(root, settings):
    """Who it is, files, kernel, network: the one shot as the daemon."""
    of_its_kind = r"Type|NotifyAccess|Exec(Start|Reload)|Timeout\w+|KillMode|WatchdogSec|Restart\w*|Environment"
    daemon, once = (
        [(name, value) for name, value in settings(root / "systemd" / unit) if not re.fullmatch(of_its_kind, name)]
        for unit in SERVICES
    )
    assert daemon == once


def test_units_see_the_same_environment(root, settings):
    """The same configuration, above all."""
    daemon, once = (dict(settings(root / "systemd" / unit))["Environment"] for unit in SERVICES)
    assert daemon == once


def test_unit_waits_longer_than_the_daemon_drains(root, settings):
    """Otherwise systemd kills runs that the daemon still gives time."""
    stop = dict(settings(root / "systemd" / "worker.service"))["TimeoutStopSec"]
    assert seconds(stop) > load(root / "systemd" / "config.toml", {}).worker.drain_timeout + 5


def test_unit_has_patience_for_a_locked_store(root, settings):
    """A beat that waits for a lock must not look like a hang."""
    watchdog = dict(settings(root / "systemd" / "worker.service"))["WatchdogSec"]
    assert seconds(watchdog) > 2 * (heartbeat.INTERVAL + LOCK_WAIT)


def test_unit_cannot_run_what_it_can_write(root, settings):
    """The folders it writes to are named: NoExecPaths=/ does not reach mounts of its own."""
    refused = dict(settings(root / "systemd" / "worker.service"))["NoExecPaths"].split()
    assert {"/", "/var/lib/worker", "/tmp", "/var/tmp", "/dev/shm"} <= set(refused)


def test_service_config_has_no_fault(root):
    """It loads as it stands."""
    assert load(root / "systemd" / "config.toml", {}).warnings == ()


def test_service_config_takes_the_key_that_the_unit_hands_over(root, settings):
    """The credential's name."""
    handed_over = dict(settings(root / "systemd" / "worker.service"))["LoadCredential"].partition(":")[0]
    assert load(root / "systemd" / "config.toml", {}).keyring.source.value == handed_over


def test_service_config_writes_to_the_state_directory_alone(root, settings):
    """Every path in it that is written to."""
    folder = f"/var/lib/{dict(settings(root / 'systemd' / 'worker.service'))['StateDirectory']}"
    document = tomllib.loads((root / "systemd" / "config.toml").read_text())
    written = [
        document["worker"]["state_dir"],
        document["store"]["url"].removeprefix("sqlite:///"),
        *(sink["path"] for sink in document["sinks"].values()),
    ]
    assert [path for path in written if path != folder and not path.startswith(f"{folder}/")] == []


def test_readme_installs_every_file(root):
    """Nothing in systemd/ is left out of the install steps."""
    steps = (root / "systemd" / "README.md").read_text().partition("## Install")[2].partition("## Every day")[0]
    files = [path.name for path in (root / "systemd").iterdir() if path.name != "README.md"]
    assert [name for name in files if f"systemd/{name}" not in steps] == []
