"""`systemd/worker`: one command, run as the service would. The script is real; systemd's part is played by stand-ins
that show what they get.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SHOW = f"""#!{sys.executable}
import json, sys
print(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def service(root, tmp_path):
    """Runs the script as root of a machine whose worker.service is ours, with a drop-in."""
    drop_in = tmp_path / "override.conf"
    drop_in.write_text("")

    def stand_in(name, text):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    stand_in("systemctl", f'#!/bin/sh\ncat "{root / "systemd" / "worker.service"}" "{drop_in}"\n')
    stand_in("systemd-run", SHOW)
    stand_in("id", "#!/bin/sh\necho 0\n")

    def run(*words, more="", user=0):
        drop_in.write_text(more)
        stand_in("id", f"#!/bin/sh\necho {user}\n")
        return subprocess.run(
            ["sh", str(root / "systemd" / "worker"), *words],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def passed(ended):
    """The settings that systemd-run got, and the command."""
    words = json.loads(ended.stdout)
    middle = words.index("--")
    return [word.removeprefix("--property=") for word in words[:middle] if "--property=" in word], words[middle + 1 :]


def test_service_command_passes_the_words_untouched(service):
    """Blanks, quotes and options included."""
    words = ["accounts", "why", "arlo/acme corp", "it's", "--json", "$HOME"]
    assert passed(service(*words))[1] == ["/opt/worker/bin/worker", *words]


def test_service_command_is_confined_as_the_service(service, root, settings):
    """Every setting but those that make it a daemon, in the unit's order."""
    daemon = {"Type", "NotifyAccess", "ExecStart", "ExecReload", "KillMode", "WatchdogSec", "Restart", "RestartSec"}
    daemon |= {"RestartPreventExitStatus", "TimeoutStartSec", "TimeoutStopSec", "WorkingDirectory"}
    unit = settings(root / "systemd" / "worker.service")
    assert passed(service("status"))[0] == [f"{name}={value}" for name, value in unit if name not in daemon]


def test_service_command_follows_drop_ins(service):
    """What an operator has added, and only what is in [Service]."""
    more = "[Unit]\nWants=x\n[Service]\nLoadCredential=\nLoadCredentialEncrypted=worker.key:/k\n[Install]\nAlias=y\n"
    assert passed(service("status", more=more))[0][-2:] == ["LoadCredential=", "LoadCredentialEncrypted=worker.key:/k"]


def test_service_command_joins_continued_lines(service):
    """A backslash at the end of a line goes on with the next one."""
    more = "[Service]\nEnvironment=A=1 \\\n  B=2\n"
    assert passed(service("status", more=more))[0][-1].split() == ["Environment=A=1", "B=2"]


def test_service_command_takes_lists_of_addresses_apart(service):
    """A transient unit refuses "localhost" beside other words."""
    more = "[Service]\nIPAddressAllow=localhost 192.0.2.0/24\n"
    assert passed(service("status", more=more))[0][-2:] == ["IPAddressAllow=localhost", "IPAddressAllow=192.0.2.0/24"]


def test_service_command_hands_pipes_through(service):
    """Where there is no terminal."""
    assert {"--pipe", "--wait", "--quiet"} <= set(json.loads(service("secrets", "set", "arlo").stdout))


def test_service_command_asks_for_root(service):
    """And says how, running nothing."""
    ended = service("accounts", "list", user=1000)
    assert (ended.returncode, ended.stdout, "sudo worker accounts list" in ended.stderr) == (1, "", True)
