"""A job's `params`, read strictly: a name that nobody reads, or a value that fits nothing, would go unnoticed for ever.

For the functions of job files. Every fault is Misconfigured, with its place in the config and what would be right.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from worker.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.jobs.context import Context


def refuse_unknown(ctx: Context, known: Sequence[str]) -> None:
    """Raise Misconfigured when the job is given a param of another name."""
    for name in ctx.params:
        if name not in known:
            raise Misconfigured(f"jobs.{ctx.job}.params.{name} is unknown{_right(name, known)}")


def read_number(ctx: Context, name: str, default: float, least: float = 0) -> float:
    """A number of at least `least`. Raises Misconfigured."""
    value = ctx.params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
        raise Misconfigured(
            f"jobs.{ctx.job}.params.{name} is {value!r}; write a number of at least {least}, e.g. {default}"
        )
    return value


def read_choices(ctx: Context, name: str, choices: Sequence[str]) -> list[str]:
    """Some of `choices`, all of them when nothing is said. Raises Misconfigured, also for an empty list."""
    value = ctx.params.get(name, list(choices))
    place = f"jobs.{ctx.job}.params.{name}"
    if not isinstance(value, list | tuple) or not value:
        raise Misconfigured(f"{place} is {value!r}; write a list of some of: {', '.join(choices)}")
    for one in value:
        if one not in choices:
            raise Misconfigured(f"{place}: there is no {one!r}{_right(str(one), choices)}")
    return list(value)


def _right(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
