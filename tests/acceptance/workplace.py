"""A working folder, the installed `worker` command in it, and everything that command has ever said.

Each call is a process of its own, with an environment of its own: nothing of the machine's settings leaks in. The story
and the secrets are played with the installed command, other tests with its `main` (`prepared_command`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prepared_command import run_prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

REPOSITORY = Path(__file__).parents[2]
#: The command as installed beside this interpreter.
COMMAND = str(Path(sys.executable).with_name("worker"))
REDIRECT_URI = "http://127.0.0.1:8765/callback"
#: Seconds. No claim of any test: where a shared machine is this slow, something hangs.
PATIENCE = 90.0


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, which has to be one JSON document."""
        return json.loads(self.out)


@dataclass
class Workplace:
    """A folder made by `worker init`."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    #: Put before every command's arguments.
    always: tuple[str, ...] = ()
    history: list[Done] = field(default_factory=list)
    #: Whether each command is the installed one, imports included; else it comes from `prepared_command`.
    installed: bool = False

    def copy(self, parent: Path) -> Workplace:
        """The same folder once more, to be changed."""
        shutil.copytree(self.folder, parent / "copy")
        return Workplace(parent / "copy")

    @property
    def environment(self) -> dict[str, str]:
        """What commands find around them."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "SSL_CERT_FILE") if name in os.environ}
        home = {"HOME": str(self.folder), "NO_PROXY": "*", "PYTHONWARNINGS": "error::ResourceWarning"}
        return kept | home | self.environ

    def __call__(self, *arguments: str, given: str | None = None, expect: int | None = 0) -> Done:
        """Run a command to its end; `given` is its standard input. `expect` is the exit code, None for any."""
        line = [*self.always, *arguments]
        if self.installed:
            ended = subprocess.run(
                [COMMAND, *line],
                cwd=self.folder,
                env=self.environment,
                input=given or "",
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        else:
            ended = run_prepared(line, cwd=self.folder, env=self.environment, given=given or "", timeout=PATIENCE)
        done = Done(arguments, ended.returncode, ended.stdout, ended.stderr)
        self.history.append(done)
        if expect is not None:
            assert done.code == expect, f"{arguments} answered {done.code}\n{done.out}\n{done.err}"
        return done

    def configure(self, text: str) -> None:
        """Add to the config file."""
        with (self.folder / "config.toml").open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")

    def add_job(self, name: str, text: str) -> None:
        """Write a job file."""
        path = self.folder / "jobs" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)

    def paste(
        self, account: str, consent: Callable[[str], str], *options: str, integration: str = "api", expect: int = 0
    ) -> Done:
        """Enrol with --paste: `consent` is given the URL and answers what the operator pastes."""
        line = [*self.always, "enroll", integration, account, "--paste", *options]
        with subprocess.Popen(
            [COMMAND, *line],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            url = process.stdout.readline()
            try:
                pasted = consent(url.strip()) if url.startswith("http") else ""
            except BaseException:
                process.kill()
                raise
            out, err = process.communicate(f"{pasted}\n", timeout=PATIENCE)
        done = Done(tuple(line), process.returncode, url + out, err)
        self.history.append(done)
        assert done.code == expect, f"{line} answered {done.code}\n{done.out}\n{done.err}"
        return done

    def account(self, name: str) -> dict[str, Any]:
        """One entry of `accounts list --json`."""
        return next(entry for entry in self("accounts", "list", "--json").json if entry["account"] == name)

    def runs(self, account: str) -> list[dict[str, Any]]:
        """`runs list --json` of an account, oldest first."""
        listed: list[dict[str, Any]] = self("runs", "list", "--json", "--account", account, "--limit", "500").json
        return listed[::-1]

    def wait_for_run(self, account: str, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The first run that is as wanted."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [run for run in self.runs(account) if wanted(run)]
            return bool(found)

        wait_until(look, what)
        return found[0]

    def daemon(self) -> Daemon:
        """`worker run`; use as a context manager."""
        return Daemon(self)


def make_workplace(parent: Path, *, installed: bool = False) -> Workplace:
    """A folder made by `worker init`."""
    place = Workplace(parent / "place", installed=installed)
    place.folder.mkdir()
    place("init")
    return place


class Daemon:
    """`worker run`, from ready to SIGTERM."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self.log = workplace.folder / f"daemon-{time.monotonic_ns()}.log"
        #: The exit code, once it has ended.
        self.code: int | None = None

    def __enter__(self) -> Self:
        place = self._workplace
        with self.log.open("wb") as file:
            self._process = subprocess.Popen(
                [COMMAND, *place.always, "run"],
                cwd=place.folder,
                env=place.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._ready, f"the daemon to be ready: {self.log.read_text()}")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ready(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        return '"ready"' in self.log.read_text()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.code is None:
            self._process.send_signal(signal.SIGTERM)
            self.code = self._process.wait(PATIENCE)
        return self.code

    def lines(self) -> Iterator[dict[str, Any]]:
        """The log."""
        for line in self.log.read_text().splitlines():
            yield json.loads(line)


def wait_until(probe: Callable[[], object], what: str) -> None:
    """Return as soon as the probe is true."""
    deadline = time.monotonic() + PATIENCE
    while not probe():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain for {what}"
        time.sleep(0.1)
