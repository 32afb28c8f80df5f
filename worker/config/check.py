"""`worker config check`: everything that loading finds, and what only the disk can tell: secret files that are missing
or open to others, folders that cannot be written. No command is run and no network touched.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from worker.config.document import read_document
from worker.config.drivers import missing_driver
from worker.config.faults import Faults, Spot
from worker.config.load import find, load, read_sections
from worker.config.paths import exists, is_folder, normal
from worker.config.secret_sources import sources
from worker.config.trust import writable_by_others
from worker.errors import ConfigProblems, JobUnusable, WorkerError, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from worker.config.model import Config
    from worker.config.secrets import SecretSource

Finding = tuple[str, str]


@dataclass(frozen=True)
class Report:
    """What was found, as pairs of place and sentence."""

    #: The file, as it was named.
    path: Path
    problems: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    #: None when the file has faults of its own.
    config: Config | None = None
    #: Faults of the job files; the place names the file.
    job_faults: tuple[Finding, ...] = ()
    #: Where job files are, and what each job uses: as far as it could be read, also of a file with faults.
    jobs_path: tuple[Path, ...] = ()
    uses: Mapping[str, str] = field(default_factory=dict)

    def adding(self, problems: Sequence[Finding] = (), job_faults: Sequence[Finding] = ()) -> Report:
        """The report with what others found."""
        return replace(
            self, problems=(*self.problems, *problems), job_faults=tuple(dict.fromkeys((*self.job_faults, *job_faults)))
        )

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong; warnings do not count."""
        return not self.problems and not self.job_faults

    def raise_problems(self) -> None:
        """Raise ConfigProblems when something is wrong in the config file, JobUnusable when only the jobs are."""
        jobs = listed("jobs", self.job_faults) if self.job_faults else ""
        # No hint: the command that lists them all is the one that has just done so.
        if self.problems:
            raise ConfigProblems(str(self.path), self.problems, hint="", also=jobs)
        if jobs:
            raise JobUnusable(jobs)

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "path": str(self.path),
            "ok": self.sound,
            "problems": [{"place": place, "problem": what} for place, what in (*self.problems, *self.job_faults)],
            "warnings": [{"place": place, "warning": what} for place, what in self.warnings],
        }


def check(config_path: Path | None, environ: Mapping[str, str]) -> Report:
    """Everything that is wrong, at once. Raises Misconfigured only when there is no file to check."""
    path = find(config_path, environ)
    try:
        config = load(path, environ)
    except ConfigProblems as error:
        return _of_faulty(path, error)
    problems = [
        *_secrets(config, environ),
        *_keyring(config, environ),
        *_folders(config),
        *_open_to_others(config),
        *_drivers(config),
    ]
    report = Report(path, tuple(problems), (*config.warnings, *_warnings(config)), config)
    return replace(
        report, jobs_path=config.worker.jobs_path, uses={name: job.uses for name, job in config.jobs.items()}
    )


def _of_faulty(path: Path, error: ConfigProblems) -> Report:
    """The report of a file with faults: what can be read of its jobs is there, so that theirs are told along."""
    report = Report(path, error.problems)
    try:
        document = read_document(path)
    except ConfigProblems:
        return report
    readings = read_sections(document, Spot("", Faults(), normal(path.absolute()).parent))
    uses = {name: job["uses"] for name, job in readings["jobs"].items() if job["uses"] is not None}
    return replace(report, jobs_path=readings["worker"][""]["jobs_path"] or (), uses=uses)


def _secrets(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    for source in sources(config):
        yield from _source(source, config, environ)


def _source(source: SecretSource, config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    if source.kind == "command":
        program = source.argv[0]
        # A name with a slash counts from the folder of the config file, where the command will run.
        found = config.base_dir / program if "/" in program else program
        if shutil.which(found, path=environ.get("PATH", os.defpath)) is None:
            yield source.place, f'there is no program "{program}" to run; install it or write its whole path'
        return
    try:
        source.read(environ, config.base_dir)
    except WorkerError as error:
        yield _finding(error, source.place)


def _keyring(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    source = config.keyring.source
    if source.kind == "file":
        path = source.path(environ, config.base_dir)
        if path is not None and not exists(path):
            yield source.place, f"{path} does not exist; try: worker keys new (never for a store that has data)"
            return
    yield from _source(source, config, environ)


def _finding(error: WorkerError, place: str) -> Finding:
    what = error.message.removeprefix(f"{place}: ")
    return place, f"{what}; try: {error.hint}" if error.hint else what


def _folders(config: Config) -> Iterator[Finding]:
    for number, folder in enumerate(config.worker.jobs_path, start=1):
        if not is_folder(folder):
            yield f"worker.jobs_path[{number}]", f"{folder} is no folder; make it, or name the one with the jobs"
    wanted = [("worker.state_dir", config.worker.state_dir)]
    if config.store.sqlite_path:
        wanted.append(("store.url", config.store.sqlite_path.parent))
    wanted += [
        (f"sinks.{sink.name}.path", sink.path if sink.type == "jsonl" else sink.path.parent)
        for sink in config.sinks.values()
        if sink.path is not None
    ]
    for place, folder in wanted:
        fault = unwritable(folder)
        if fault:
            yield place, fault


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written in this folder, made first if need be; None when all is well."""
    standing = next(path for path in (folder, *folder.parents) if exists(path))
    if not is_folder(standing):
        return f"{standing} is a file; a folder is needed there"
    if os.access(standing, os.W_OK | os.X_OK):
        return None
    missing = "" if standing == folder else f", so {folder} cannot be made"
    return f"{standing} may not be written by user {os.geteuid()}{missing}; try: chown {os.geteuid()} {standing}"


def _drivers(config: Config) -> Iterator[Finding]:
    for name, sink in config.sinks.items():
        missing = missing_driver(sink)
        if missing is not None:
            yield f"sinks.{name}.type", missing


def _warnings(config: Config) -> Iterator[Finding]:
    mode = stat.S_IMODE(config.path.stat().st_mode)
    clear = [source.place for source in sources(config) if source.kind == "literal"]
    if clear and mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield clear[0], f"a secret in a file of mode {mode:04o} that others may read; try: chmod 600 {config.path}"
    folder = writable_by_others(config.path.parent)
    if folder:
        yield "file", folder


def _open_to_others(config: Config) -> Iterator[Finding]:
    witness = [("store.witness", config.store.witness)] if config.store.witness else []
    for place, path in [("file", config.path), ("worker.state_dir", config.worker.state_dir), *witness]:
        fault = writable_by_others(path)
        if fault:
            yield place, fault
