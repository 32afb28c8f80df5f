"""The command line as a contract: commands, `--json`, field names, exit codes, search order, completion, start-up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from servers import Sandbox
from workplace import COMMAND, PATIENCE, Workplace, make_workplace

from worker.sandbox import give_consent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What belongs to the contract and exists in this version.
COMMANDS = (
    "init", "enroll", "run", "once", "status", "demo",
    "secrets set", "secrets list", "secrets remove",
    "accounts list", "accounts show", "accounts why", "accounts pause", "accounts resume", "accounts revoke",
    "accounts remove", "accounts release", "accounts confirm",
    "jobs list", "jobs run", "jobs new", "jobs backfill", "jobs reset", "runs list", "runs show",
    "keys new", "keys verify", "keys list", "keys rotate", "keys retire", "keys escrow", "keys recover",
    "store check", "store migrate", "store backup", "store restore", "config check", "config show", "config example",
)  # fmt: skip

#: Imports that cost more than all of `worker --help`.
HEAVY = ("sqlalchemy", "sqlmodel", "requests", "urllib3", "cryptography", "alembic", "apscheduler", "lxml")

JOBS = """
[jobs.good]
uses = "jobs_of_test.good"
integration = "api"

[jobs.bad]
uses = "jobs_of_test.bad"
integration = "api"
retries = 0

[jobs.due]
uses = "jobs_of_test.good"
integration = "api"
every = "1s"
"""
JOB_FILE = '''\
from worker import Context, job


@job()
def good(ctx: Context) -> None:
    """Copy one row."""
    ctx.get("events", params={"top": 1})
    ctx.emit("rows", [{"id": 1}], key="id")
    ctx.checkpoint(at=1)


@job()
def bad(ctx: Context) -> None:
    """Fail."""
    raise ValueError("as asked")
'''


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One for all tests in here; each enrols users of its own."""
    with Sandbox(access_ttl=3600) as server:
        yield server


@pytest.fixture(scope="module")
def enrolled(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A working folder with an account and a few runs. Tests that change anything take a copy."""
    place = make_workplace(tmp_path_factory.mktemp("contract"))
    place.configure(sandbox.integration())
    place.configure(JOBS)
    place.add_job("jobs_of_test.py", JOB_FILE)
    place("secrets", "set", "api", given=f"{sandbox.client.secret}\n")
    place.paste("acme", lambda url: give_consent(url, "acme"))
    place("jobs", "run", "good")
    place("jobs", "run", "bad", expect=1)
    return place


@pytest.fixture
def copy(enrolled: Workplace, tmp_path: Path) -> Workplace:
    """A copy, to be changed. Its grant is everybody's."""
    return enrolled.copy(tmp_path)


@pytest.fixture
def place(copy: Workplace) -> Workplace:
    """A copy with a grant of its own, to be broken."""
    user = f"user-{time.monotonic_ns()}"
    copy.paste("acme", lambda url: give_consent(url, user), "--replace-identity")
    copy.environ["USER_AT_PROVIDER"] = user
    return copy


# --help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(enrolled: Workplace, command: str) -> None:
    """Every command explains itself, with a line to copy."""
    done = enrolled(*command.split(), "--help")
    assert done.out.startswith(f"Usage: worker {command} ")
    assert re.search(rf"Examples?:\s+worker (--\S+ \S+ )?{command}", " ".join(done.out.split()))


def test_help_lists_every_command_of_the_contract(enrolled: Workplace) -> None:
    """Nothing is hidden."""
    listed = enrolled("--help").out
    groups = {command.split()[0] for command in COMMANDS}
    assert [group for group in sorted(groups) if not re.search(rf"^  {group} ", listed, re.MULTILINE)] == []


def test_version_names_program_and_number(enrolled: Workplace) -> None:
    """`--version` needs no config."""
    assert re.fullmatch(r"headless-worker \d+\.\d+\.\d+\S*\n", enrolled("--version").out)


def test_no_command_is_a_usage_fault_that_shows_the_help(enrolled: Workplace) -> None:
    """Help on standard error, exit code 2, and no program name in front of it."""
    done = enrolled(expect=2)
    assert done.err.startswith("Usage: worker ")


# --json

JSON = (
    "status", "secrets list", "accounts list", "accounts show api acme", "accounts show api/acme",
    "accounts why api acme", "accounts pause api acme", "accounts resume api acme", "jobs list", "runs list",
    "keys verify", "keys list", "keys rotate",
    "store check", "store migrate", "store backup made.db", "config check", "config show", "config example",
    "jobs run good", "jobs run good --dry-run", "jobs run bad", "jobs run bad --dry-run", "once",
    "secrets remove api client_secret", "init elsewhere", "keys new another.key",
    "accounts remove api acme --yes --keep-grant",
)  # fmt: skip
JSON_OF_FAULTS = (
    "nonsense", "accounts", "accounts list --nonsense", "accounts show api nobody", "runs show nothing",
    "jobs run none", "enroll nowhere acme --paste", "secrets set api another", "--config absent.toml status",
    "runs list --state odd", "keys new", "init .", "accounts revoke api acme", "enroll api acme --paste --loopback",
    "accounts release api", "accounts confirm api", "accounts release nowhere",
)  # fmt: skip


@pytest.mark.parametrize("command", JSON)
def test_json_is_one_document_on_stdout(copy: Workplace, command: str) -> None:
    """`--json` after the command: all of stdout is one JSON document, and stderr has no stack trace of ours."""
    done = copy(*command.split(), "--json", expect=None)
    json.loads(done.out)
    assert "worker/cli" not in done.err


@pytest.mark.parametrize("command", JSON_OF_FAULTS)
def test_json_of_a_fault_is_one_document_with_message_hint_and_code(enrolled: Workplace, command: str) -> None:
    """`--json` before the command: a fault is a document too, and its code is the process's."""
    done = enrolled("--json", *command.split(), expect=None)
    assert done.json.keys() == {"error", "hint", "exit_code"}
    assert done.json["exit_code"] == done.code != 0


def test_json_of_runs_show_is_one_document(enrolled: Workplace) -> None:
    """A run is found by the beginning of its id."""
    run = enrolled.runs("acme")[0]
    assert enrolled("runs", "show", run["id"][:18], "--json").json == run


@pytest.mark.parametrize("command", ["revoke", "remove"])
def test_json_of_giving_back_the_grant_is_one_document(place: Workplace, command: str) -> None:
    """What the provider said goes to standard error."""
    done = place("accounts", command, "api", "acme", "--yes", "--json")
    assert (done.json["account"], done.err) == ("acme", "revoked at the provider\n")


def test_json_of_enroll_follows_the_authorization_url(place: Workplace) -> None:
    """The URL keeps its line of its own; what follows is one document."""
    user = place.environ["USER_AT_PROVIDER"]
    url, _, document = place.paste("acme", lambda url: give_consent(url, user), "--json").out.partition("\n")
    assert url.startswith("http")
    assert json.loads(document)["state"] == "active"


def test_json_of_secrets_set_is_one_document(copy: Workplace) -> None:
    """What was stored is not shown."""
    done = copy("secrets", "set", "api", "--json", given="a new one\n")
    assert done.json == {"integration": "api", "name": "client_secret", "replaced": True}


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def test_accounts_list_has_the_fields_of_the_contract(enrolled: Workplace) -> None:
    """A list of objects; times are RFC 3339 in UTC."""
    (account,) = enrolled("accounts", "list", "--json").json
    wanted = {
        "integration", "account", "state", "reason", "scopes", "generation", "access_token_expires_at",
        "last_refreshed_at", "subject",
    }  # fmt: skip
    assert wanted <= account.keys()
    assert TIME.fullmatch(account["access_token_expires_at"])


def test_runs_list_has_the_fields_of_the_contract(enrolled: Workplace) -> None:
    """A list of objects; the state is one of the eight."""
    runs = enrolled("runs", "list", "--json").json
    wanted = {"id", "job", "integration", "account", "state", "started_at", "finished_at", "rows", "error"}
    assert [wanted - run.keys() for run in runs] == [set(), set()]
    assert [run["state"] for run in runs] == ["failed", "succeeded"]
    assert all(TIME.fullmatch(run["started_at"]) and TIME.fullmatch(run["finished_at"]) for run in runs)


# exit codes


def test_exit_code_is_0_when_done(enrolled: Workplace) -> None:
    """Done."""
    assert enrolled("status").code == 0


def test_exit_code_is_1_when_a_job_failed(enrolled: Workplace) -> None:
    """A job that raises, tried by hand."""
    assert enrolled("jobs", "run", "bad", "--dry-run", expect=None).code == 1


@pytest.mark.parametrize(
    "command", ["nonsense", "status --nonsense", "accounts show api nobody", "jobs run good --limit x"]
)
def test_exit_code_is_2_for_usage(enrolled: Workplace, command: str) -> None:
    """Unknown commands, options, accounts; values that are none."""
    assert enrolled(*command.split(), expect=None).code == 2


@pytest.mark.parametrize("command", ["jobs run good", "jobs run good --dry-run", "status", "once"])
def test_exit_code_is_3_when_a_human_must_consent(place: Workplace, sandbox: Sandbox, command: str) -> None:
    """The grant was revoked: whichever command meets that says so."""
    sandbox.revoke(place.environ["USER_AT_PROVIDER"])
    place("jobs", "run", "good", expect=3)
    assert place(*command.split(), expect=None).code == 3


def test_exit_code_is_75_when_the_provider_cannot_answer(workplace: Workplace) -> None:
    """A provider that is down is no fault of the configuration, and asks nobody for consent."""
    with Sandbox() as sandbox:
        workplace.configure(sandbox.integration())
        workplace("secrets", "set", "api", given=f"{sandbox.client.secret}\n")
        sandbox.control.fault("token", "http_503")
        workplace.paste("acme", lambda url: give_consent(url, "acme"), expect=75)


def test_exit_code_is_75_when_a_run_waits_for_its_retry(place: Workplace, sandbox: Sandbox) -> None:
    """The API is down: the run of a job that has a schedule will be tried again."""
    user = place.environ["USER_AT_PROVIDER"]
    sandbox.control.fault("api", "http_503", times=20, user=user)
    assert place("jobs", "run", "due", expect=None).code == 75


def test_exit_code_is_78_for_a_config_fault(copy: Workplace) -> None:
    """All faults at once, and the code for configuration."""
    copy.configure('[jobs.x]\nuses = "a.b"\nintegration = "apj"\nevery = "15"')
    done = copy("status", expect=78)
    assert 'did you mean "api"' in done.err
    assert '"15" has no unit' in done.err


def test_exit_code_is_78_when_the_client_itself_is_refused(place: Workplace, sandbox: Sandbox) -> None:
    """A wrong client secret is the operator's to mend."""
    sandbox.control.expire(place.environ["USER_AT_PROVIDER"])
    place("secrets", "set", "api", given="not the secret\n")
    assert place("jobs", "run", "good", expect=None).code == 78


def test_exit_code_is_78_without_the_keyring(copy: Workplace) -> None:
    """A lost key is said, and no second one is made."""
    (copy.folder / "worker.key").unlink()
    copy("accounts", "list", expect=78)
    assert not (copy.folder / "worker.key").exists()


# the config file


def test_config_option_wins_over_environment_and_folder(enrolled: Workplace, tmp_path: Path) -> None:
    """`--config`, then $WORKER_CONFIG, then ./config.toml."""
    places = {name: make_workplace(tmp_path / name) for name in named(tmp_path, "option", "environment", "folder")}
    here = places["folder"]
    here.environ["WORKER_CONFIG"] = str(places["environment"].folder / "config.toml")
    option = str(places["option"].folder / "config.toml")
    assert here("config", "show", "--config", option).json["path"] == option


def test_config_of_the_environment_wins_over_the_folder(tmp_path: Path) -> None:
    """$WORKER_CONFIG, then ./config.toml."""
    places = {name: make_workplace(tmp_path / name) for name in named(tmp_path, "environment", "folder")}
    here = places["folder"]
    here.environ["WORKER_CONFIG"] = str(places["environment"].folder / "config.toml")
    assert here("config", "show").json["path"] == here.environ["WORKER_CONFIG"]


def test_config_is_found_in_the_folder(enrolled: Workplace) -> None:
    """./config.toml, when nothing else is said."""
    assert enrolled("config", "show").json["path"] == str(enrolled.folder / "config.toml")


def test_config_that_is_nowhere_names_the_places_and_how_to_begin(tmp_path: Path) -> None:
    """Exit code 78, the places that were looked at, and `worker init`."""
    if os.path.exists("/etc/worker/config.toml"):  # noqa: PTH110 - a fact of the machine
        pytest.skip("this machine has a config of its own")
    done = Workplace(tmp_path)("status", expect=78)
    assert "/etc/worker/config.toml" in done.err
    assert "Try: worker init" in done.err


def named(folder: Path, *names: str) -> tuple[str, ...]:
    """Folders of these names."""
    for name in names:
        (folder / name).mkdir()
    return names


# completion and start-up


def test_completion_completes_commands(enrolled: Workplace) -> None:
    """What bash asks for when somebody presses the tab key."""
    assert completed("worker acc", enrolled) == ["accounts"]
    assert {"list", "why", "resume"} <= set(completed("worker accounts ", enrolled))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed_for_a_shell(enrolled: Workplace, shell: str) -> None:
    """To be sourced from a start-up file."""
    environment = enrolled.environment | {"_WORKER_COMPLETE": f"source_{shell}"}
    done = subprocess.run([COMMAND], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "_WORKER_COMPLETE=complete_" in done.stdout


def completed(line: str, place: Workplace) -> list[str]:
    """The words offered at the end of a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_WORKER_COMPLETE": "complete_bash"}
    environment = place.environment | words
    done = subprocess.run([COMMAND], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("arguments", ["--help", "accounts --help", "enroll --help", "--version"])
def test_help_imports_none_of_the_heavy_parts(enrolled: Workplace, arguments: str) -> None:
    """No database, HTTP, crypto or scheduler for a page of text."""
    assert imported(enrolled, *arguments.split()) & set(HEAVY) == set()


def test_completion_imports_none_of_the_heavy_parts(enrolled: Workplace) -> None:
    """Nor for a press of the tab key."""
    words = {"COMP_WORDS": "worker acc", "COMP_CWORD": "1", "_WORKER_COMPLETE": "complete_bash"}
    assert imported(enrolled, environ=words) & set(HEAVY) == set()


def test_status_imports_none_of_the_heavy_parts(enrolled: Workplace) -> None:
    """What is looked at many times a day reads the database without the layers above it."""
    assert imported(enrolled, "status") & set(HEAVY) == set()


def imported(place: Workplace, *arguments: str, environ: dict[str, str] | None = None) -> set[str]:
    """Top-level packages that a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "worker", *arguments],
        cwd=place.folder,
        env=place.environment | (environ or {}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    names = re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE)
    assert "typer" in names
    return {name.partition(".")[0] for name in names}
