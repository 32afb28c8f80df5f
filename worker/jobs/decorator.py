"""A job is a plain function of one argument; `@job` only marks it. There is no registry: whoever loads the file reads
the mark, so importing a job has no effect and the function stays callable in a test.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from worker.errors import JobUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.jobs.context import Context

Function = TypeVar("Function", bound="Callable[[Context], None]")

#: The attribute that holds a function's mark.
_MARK = "__worker_job__"


@dataclass(frozen=True)
class JobDefinition:
    """What the decorator knows of one job."""

    #: The part after the dot in `uses = "module.name"`.
    name: str
    function: Callable[[Context], None]
    #: Scopes without which the job cannot work; an account whose grant lacks one has this job parked.
    scopes: tuple[str, ...]
    #: First line of the function's docstring.
    doc: str


@overload
def job(function: Function, /) -> Function: ...
@overload
def job(*, scopes: Sequence[str] = (), name: str | None = None) -> Callable[[Function], Function]: ...
def job(
    function: Function | None = None, /, *, scopes: Sequence[str] = (), name: str | None = None
) -> Function | Callable[[Function], Function]:
    """Mark a function as a job: `@job` or `@job(scopes=["read"], name="…")`. Raises JobUnusable on what cannot run."""

    def mark(marked: Function) -> Function:
        setattr(marked, _MARK, _definition(marked, scopes, name))
        return marked

    return mark if function is None else mark(function)


def definition_of(value: object) -> JobDefinition | None:
    """The mark of a job function; None when `value` is anything else."""
    found = getattr(value, _MARK, None) if callable(value) else None
    return found if isinstance(found, JobDefinition) else None


def _definition(function: Any, scopes: Sequence[str], name: str | None) -> JobDefinition:
    chosen = name or str(getattr(function, "__name__", "?"))
    if isinstance(scopes, str):
        raise JobUnusable(f"job {chosen}: scopes is the text {scopes!r}; write a list, scopes=[{scopes!r}]")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise JobUnusable(f"job {chosen} is an async function; a job is a plain `def`")
    if inspect.isgeneratorfunction(function):
        raise JobUnusable(f"job {chosen} has a `yield`; hand rows over with ctx.emit(table, rows)")
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        raise JobUnusable(f"job {chosen} must take one argument, the context: {error}") from None
    doc = inspect.getdoc(function) or ""
    return JobDefinition(chosen, function, tuple(scopes), doc.partition("\n")[0])
