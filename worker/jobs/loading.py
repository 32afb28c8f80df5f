"""Jobs are files in a folder: `uses = "arlo.registrations"` is the function `registrations` in `arlo.py`.

A file is code that runs with every grant of the daemon in reach, so it is read once, through one descriptor, and run
only if nobody but this user or root could have written what was read. Neither `sys.path` nor a bytecode cache takes
part. One broken file does not take the others with it: the catalog holds what works and lists every fault.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
import traceback
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.errors import JobUnusable, listed
from worker.jobs.decorator import definition_of
from worker.jobs.job_file import FileRefused, read_trusted, shadowed_jobs, trust_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from worker.jobs.decorator import JobDefinition

Fault = tuple[str, str]


@dataclass(frozen=True)
class JobCatalog:
    """What was found."""

    #: By the name that `uses` takes: `arlo.registrations`.
    jobs: Mapping[str, JobDefinition]
    #: Place (a file, with the line where there is one) and what is wrong there.
    faults: tuple[Fault, ...] = ()
    #: Names of modules that are there, with the names of their functions that are no jobs.
    modules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Faults by the module they spoil.
    spoilt: Mapping[str, tuple[Fault, ...]] = field(default_factory=dict)
    #: Faults of folders that were not looked into: what is missing may be there.
    closed: tuple[Fault, ...] = ()

    def told_of(self, uses: str) -> bool:
        """Whether it is one of `faults` that keeps this job from being found."""
        module = uses.rpartition(".")[0]
        return module in self.spoilt or (bool(self.closed) and bool(module) and module not in self.modules)

    def get(self, uses: str) -> JobDefinition:
        """The job that `uses` names. Raises JobUnusable that says what is wrong with it, or what comes close."""
        found = self.jobs.get(uses)
        if found is not None:
            return found
        module, _, function = uses.rpartition(".")
        if not module:
            close = next((name for name in self.jobs if name.rpartition(".")[2] == uses), "module.function")
            raise JobUnusable(f"{uses!r} names no file; write {close!r}")
        if module in self.spoilt:
            raise _unusable(self.spoilt[module])
        if function in self.modules.get(module, ()):
            raise JobUnusable(f"{module}.py has a function {function!r}, but it is not marked with @job")
        close_names = difflib.get_close_matches(uses, self.jobs, n=1)
        advice = f"; did you mean {close_names[0]!r}?" if close_names else ""
        known = "" if close_names or not self.jobs else f"; there are {', '.join(sorted(self.jobs))}"
        if module in self.modules:
            raise JobUnusable(f"{module}.py has no job {function!r}{advice}{known}")
        if self.closed:
            raise _unusable(self.closed)
        raise JobUnusable(f"there is no file {module}.py in the jobs path{advice}{known}")

    def require_sound(self) -> None:
        """Raise JobUnusable that lists every fault, if there is any."""
        if self.faults:
            raise _unusable(self.faults)


def load_jobs(paths: Sequence[Path]) -> JobCatalog:
    """Load every job file in these folders. Never raises for what it finds there: see `JobCatalog.faults`.

    Files whose names begin with `_`, `.` or `test_`, and `conftest.py`, are left alone.
    """
    jobs: dict[str, JobDefinition] = {}
    faults: list[Fault] = []
    modules: dict[str, tuple[str, ...]] = {}
    spoilt: dict[str, list[Fault]] = {}
    found = _files(paths, faults)
    closed = tuple(faults)
    for name, files in found.items():
        loaded = _load_one(name, files)
        modules[name] = loaded.functions
        jobs |= {f"{name}.{job}": definition for job, definition in loaded.jobs.items()}
        faults += loaded.faults
        if loaded.faults:
            spoilt[name] = loaded.faults
    return JobCatalog(jobs, tuple(faults), modules, {name: tuple(each) for name, each in spoilt.items()}, closed)


@dataclass
class _Loaded:
    """One module."""

    jobs: dict[str, JobDefinition] = field(default_factory=dict)
    functions: tuple[str, ...] = ()
    faults: list[Fault] = field(default_factory=list)


def _files(paths: Iterable[Path], faults: list[Fault]) -> dict[str, list[Path]]:
    """The job files of all folders by module name."""
    found: dict[str, list[Path]] = {}
    for folder in dict.fromkeys(path.absolute() for path in paths):
        try:
            trust_folder(folder)
            names = sorted(path for path in folder.iterdir() if path.suffix == ".py")
        except (FileRefused, OSError) as error:
            faults.append((str(folder), _sentence(error)))
            continue
        for path in names:
            if not path.name.startswith(("_", ".", "test_")) and path.name != "conftest.py":
                found.setdefault(path.stem, []).append(path)
    return found


def _load_one(name: str, files: Sequence[Path]) -> _Loaded:
    path = files[0]
    if len(files) > 1:
        return _Loaded(faults=[(str(path), f"there is also {other}; rename one of them") for other in files[1:]])
    try:
        source = read_trusted(path)
        shadowed = shadowed_jobs(source, path)
    except SyntaxError as error:
        return _Loaded(faults=[(_place(path, error.lineno), f"syntax error: {error.msg}")])
    except (FileRefused, OSError, ValueError) as error:
        return _Loaded(faults=[(str(path), _sentence(error))])
    if shadowed:
        return _Loaded(
            faults=[(_place(path, line), f"a second job {job!r}; names are unique") for job, line in shadowed]
        )
    return _run(name, path, source)


def _run(name: str, path: Path, source: bytes) -> _Loaded:
    """Execute a file as a module of its own and collect what is marked in it."""
    # Dataclasses and type hints look their module up by name; the digest keeps it apart from any other module.
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    module = types.ModuleType(f"worker_job_{digest}_{name}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - that is the task
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a file does when it is run is its fault
        del sys.modules[module.__name__]
        return _Loaded(faults=[(_place(path, _line(error, path)), f"{type(error).__name__}: {_sentence(error)}")])
    return _collect(path, module)


def _collect(path: Path, module: types.ModuleType) -> _Loaded:
    loaded = _Loaded()
    plain: list[str] = []
    for attribute, value in vars(module).items():
        definition = definition_of(value)
        if definition is None:
            if isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
                plain.append(attribute)
        elif loaded.jobs.setdefault(definition.name, definition) is not definition:
            line = definition.function.__code__.co_firstlineno
            loaded.faults.append((_place(path, line), f"a second job {definition.name!r}; names are unique"))
    loaded.functions = tuple(plain)
    if loaded.faults:
        loaded.jobs = {}
    return loaded


def _line(error: BaseException, path: Path) -> int | None:
    """The line of the file that was being executed."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _place(path: Path, line: int | None) -> str:
    return f"{path}:{line}" if line else str(path)


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or "no message"


def _unusable(faults: Sequence[Fault]) -> JobUnusable:
    return JobUnusable(listed("jobs", faults), hint="worker config check")
