from __future__ import annotations

import json
import os

import pytest

from worker.config.check import check, unwritable
from worker.config.drivers import missing_driver
from worker.config.model import SinkConfig
from worker.config.trust import refuse_open_to_all
from worker.errors import ConfigProblems, JobUnusable, Misconfigured

ENVIRON = {"PATH": os.environ["PATH"]}


@pytest.fixture
def sound(folder):
    """A folder as `worker init` would leave it."""
    (folder.path / "jobs").mkdir()
    key = folder.path / "worker.key"
    key.write_text("k1 abc\n")
    key.chmod(0o600)
    return folder


def found(folder, text: str, environ: dict[str, str] | None = None) -> dict[str, str]:
    """What the check finds: place -> problem."""
    return dict(check(folder.write(text), ENVIRON | (environ or {})).problems)


def test_check_is_content_with_a_sound_folder(sound, integration, job):
    """No problems, no warnings, and the configuration at hand."""
    report = check(sound.write(integration + job), ENVIRON)
    assert (report.problems, report.warnings) == ((), ())
    assert report.config is not None
    report.raise_problems()


def test_check_reports_faults_of_the_file(sound):
    """Everything loading finds."""
    report = check(sound.write("[worker]\na = 1\n[store]\nb = 2"), ENVIRON)
    assert [place for place, _ in report.problems] == ["worker.a", "store.b"]
    assert report.config is None
    with pytest.raises(ConfigProblems, match="2 problems"):
        report.raise_problems()


def test_check_needs_a_file(folder):
    """Nothing to check is no finding."""
    with pytest.raises(Misconfigured):
        check(folder.file, ENVIRON)


def test_check_finds_a_missing_secret_file(sound, integration):
    """Before the first refresh does."""
    problems = found(sound, f'{integration}client_secret_file = "gone"')
    assert problems == {"integrations.arlo.client_secret_file": f"{sound.path}/gone does not exist"}


def test_check_finds_a_secret_file_open_to_others(sound, integration):
    """With the command that mends it."""
    (sound.path / "s").write_text("x")
    (sound.path / "s").chmod(0o644)
    problems = found(sound, f'{integration}client_secret_file = "s"')
    assert problems == {
        "integrations.arlo.client_secret_file": f"{sound.path}/s has mode 0644, so others may read it; "
        f"try: chmod 600 {sound.path}/s"
    }


def test_check_finds_a_keyring_open_to_others(sound, integration):
    """The keyring is a secret like any other."""
    (sound.path / "worker.key").chmod(0o640)
    assert "mode 0640" in found(sound, integration)["keyring.file"]


def test_check_finds_a_missing_keyring(sound, integration):
    """With the warning that a new key does not open an old store."""
    (sound.path / "worker.key").unlink()
    assert "worker keys new (never for a store that has data)" in found(sound, integration)["keyring.file"]


def test_check_finds_the_keyring_of_systemd(sound, integration):
    """LoadCredential= under the same name needs no other config."""
    (sound.path / "worker.key").rename(sound.path / "elsewhere")
    (sound.path / "c").mkdir()
    (sound.path / "c/worker.key").write_text("k1 abc")
    assert found(sound, integration, {"CREDENTIALS_DIRECTORY": str(sound.path / "c")}) == {}


def test_check_finds_unset_variables(sound, integration):
    """Client secret, keyring and store alike."""
    problems = found(sound, f'{integration}client_secret_env = "A"\n[keyring]\nenv = "B"\n[store]\nurl_env = "C"')
    assert problems == {
        "store.url_env": "the environment variable C is not set",
        "integrations.arlo.client_secret_env": "the environment variable A is not set",
        "keyring.env": "the environment variable B is not set",
    }


def test_check_finds_a_missing_program_without_running_any(sound, integration):
    """A command may cost something or ask somebody, so it is only looked for."""
    text = f'{integration}client_secret_command = "touch ran"\n[keyring]\ncommand = "no-such-program"'
    assert list(found(sound, text)) == ["keyring.command"]
    assert not (sound.path / "ran").exists()


def test_check_looks_for_a_program_beside_the_config(sound, integration):
    """Where it will be run."""
    script = sound.path / "secret.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    assert found(sound, f'{integration}client_secret_command = "./secret.sh"') == {}


def test_check_finds_missing_job_folders(sound, integration):
    """Each by its place in the list."""
    problems = found(sound, f'[worker]\njobs_path = ["jobs", "more"]\n{integration}')
    assert problems == {
        "worker.jobs_path[2]": f"{sound.path}/more is no folder; make it, or name the one with the jobs"
    }


def test_check_finds_a_file_where_a_folder_is_needed(sound, integration):
    """State, store and sinks."""
    (sound.path / "state").touch()
    problems = found(sound, f'{integration}[sinks.s]\ntype = "jsonl"\npath = "state/rows"')
    assert list(problems) == ["worker.state_dir", "store.url", "sinks.s.path"]
    assert set(problems.values()) == {f"{sound.path}/state is a file; a folder is needed there"}


def test_check_finds_a_folder_that_may_not_be_written(sound):
    """With the parent at fault when the folder is not there yet."""
    sound.path.chmod(0o500)
    if os.access(sound.path, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert "cannot be made" in str(unwritable(sound.path / "state"))
    sound.path.chmod(0o700)


def test_check_warns_of_a_literal_secret_that_others_may_read(sound, integration):
    """Twice: that it is there, and that it can be read."""
    sound.write(f'{integration}client_secret = "hunter2hunter2"').chmod(0o644)
    report = check(sound.file, ENVIRON)
    assert any("mode 0644" in what for _, what in report.warnings)
    assert "hunter2" not in str(report)


def test_check_refuses_a_state_folder_that_others_may_write(sound, integration):
    """Whoever may write there may exchange the database."""
    (sound.path / "state").mkdir()
    (sound.path / "state").chmod(0o777)
    report = check(sound.write(integration), ENVIRON)
    assert [place for place, _ in report.problems] == ["worker.state_dir"]


def test_report_takes_what_others_found(sound, integration):
    """The layer `jobs` is a stranger here; the command brings its findings."""
    report = check(sound.write(integration), ENVIRON).adding([("jobs.j.uses", "no such function")])
    assert report.problems == (("jobs.j.uses", "no such function"),)
    assert json.loads(json.dumps(report.as_dict())) == {
        "path": str(sound.file),
        "ok": False,
        "problems": [{"place": "jobs.j.uses", "problem": "no such function"}],
        "warnings": [],
    }


@pytest.mark.parametrize("mode", [0o660, 0o602, 0o666])
def test_check_refuses_a_config_file_that_others_may_write(sound, integration, mode):
    """It names commands that are run with our rights."""
    sound.write(integration).chmod(mode)
    ((place, what),) = check(sound.file, ENVIRON).problems
    assert (place, f"mode {mode:04o}, so others may change it; try: chmod go-w" in what) == ("file", True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_check_refuses_a_config_file_of_another_user(sound, integration):
    """Its owner may change it whenever he likes."""
    os.chown(sound.write(integration), 12345, -1)
    ((_, what),) = check(sound.file, ENVIRON).problems
    assert "belongs to user 12345" in what


def test_check_warns_of_a_config_folder_that_others_may_write(sound, integration):
    """Who may write there may put another file in its place."""
    sound.path.chmod(0o777)
    report = check(sound.write(integration), ENVIRON)
    assert (report.problems, [place for place, _ in report.warnings]) == ((), ["file"])


def test_check_counts_faults_of_jobs_apart(sound, integration):
    """A job file's fault is none of the config file's, and no list advises the command that made it."""
    report = check(sound.write(integration), ENVIRON).adding([], [("jobs/a.py:3", "syntax error")])
    with pytest.raises(JobUnusable, match="jobs: 1 problem") as caught:
        report.raise_problems()
    assert caught.value.hint == ""
    both = report.adding([("jobs.a.uses", "there is none")])
    with pytest.raises(ConfigProblems) as told:
        both.raise_problems()
    assert [line for line in told.value.message.splitlines() if "problem" in line] == [
        f"{sound.file}: 1 problem",
        "jobs: 1 problem",
    ]
    assert told.value.hint == ""


def test_open_config_is_refused_only_when_all_may_write_it(sound, integration):
    """By what runs unattended: whoever is on this machine would have commands run."""
    sound.write(integration).chmod(0o664)
    refuse_open_to_all(sound.file)
    sound.file.chmod(0o666)
    with pytest.raises(Misconfigured, match="mode 0666: every user of this machine may write it"):
        refuse_open_to_all(sound.file)


def test_check_finds_the_missing_file_of_a_sinks_url(sound, integration):
    """Before the first run does."""
    problems = found(sound, f'{integration}[sinks.w]\ntype = "postgresql"\nurl_file = "nope.url"')
    assert problems == {"sinks.w.url_file": f"{sound.path}/nope.url does not exist"}


def test_check_of_a_faulty_file_tells_what_its_jobs_use(sound, integration, job):
    """So that faults of the job files are told with those of the config, not after them."""
    report = check(sound.write(integration + job + "a = 1"), ENVIRON)
    assert (report.uses, report.jobs_path) == ({"invoices": "billing.invoices"}, (sound.path / "jobs",))
    assert check(sound.write("= 1"), ENVIRON).uses == {}


@pytest.mark.parametrize(("kind", "package"), [("dlt", "dlt"), ("postgresql", "psycopg")])
def test_driver_that_is_not_installed_is_named_with_its_remedy(kind, package):
    """Without importing it; a sink that needs none lacks none."""
    said = missing_driver(SinkConfig("w", kind, None), lambda _name: None)
    assert said == f'{package} is not installed; try: pip install "headless-worker[{kind}]"'
    assert missing_driver(SinkConfig("w", kind, None)) is None
    assert missing_driver(SinkConfig("w", "jsonl", None), lambda _name: None) is None
