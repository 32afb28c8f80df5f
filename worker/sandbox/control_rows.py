"""The control operations on rows: what changes at the source, and what stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.sandbox.catalogue import RESOURCES
from worker.sandbox.settings import BadControl

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.sandbox.state import State

#: Contacts that a merge takes.
PAIR = 2


def _rows(state: State, collection: str) -> dict[str, Any]:
    _known(collection)
    return {"rows": state.dataset.shown(collection)}


def _touch(
    state: State,
    collection: str,
    count: int = 1,
    numbers: list[int] | None = None,
    equal: bool = False,
    late: float = 0.0,
) -> dict[str, Any]:
    chosen = _chosen(state, collection, count, numbers)
    return {"numbers": state.dataset.touch(collection, chosen, state.now(), equal=equal, late=_seconds(late))}


def _insert(
    state: State, collection: str, count: int = 1, equal: bool = False, late: float = 0.0, owner: int | None = None
) -> dict[str, Any]:
    _changeable(collection)
    if owner is not None:
        _chosen(state, _whole_of(collection), 1, [owner])
    made = state.dataset.insert(collection, _counted(count), state.now(), equal=equal, late=_seconds(late), owner=owner)
    return {"numbers": made}


def _delete(state: State, collection: str, count: int = 1, numbers: list[int] | None = None) -> dict[str, Any]:
    return {"numbers": state.dataset.delete(collection, _chosen(state, collection, count, numbers), state.now())}


def _merge(
    state: State, source: int | None = None, destination: int | None = None, renew: bool = False
) -> dict[str, Any]:
    pair = [number for number in (source, destination) if number is not None]
    chosen = _chosen(state, "contacts", PAIR, pair or None)
    if len(chosen) != PAIR:
        raise BadControl("merge: give source and destination, two different contacts, or neither of them")
    request = state.dataset.merge(chosen[0], chosen[1], state.now(), renew=renew)
    return {"source": chosen[0], "destination": chosen[1], "request": request}


def _chosen(state: State, collection: str, count: int, numbers: list[int] | None) -> list[int]:
    _changeable(collection)
    if numbers is None:
        return state.dataset.pick(collection, _counted(count))
    missing = [number for number in numbers if number not in state.dataset.tables[collection].rows]
    if missing:
        raise BadControl(f"{collection} has no number {missing[0]!r}")
    return list(dict.fromkeys(numbers))


def _known(collection: str) -> None:
    if collection not in RESOURCES:
        raise BadControl(f"unknown collection {collection!r}; known are {', '.join(RESOURCES)}")


def _changeable(collection: str) -> None:
    _known(collection)
    if collection == "contactmergerequests":
        raise BadControl("contactmergerequests come from merge and stay as they are")


def _whole_of(collection: str) -> str:
    """The collection whose resources these are parts of."""
    relation = RESOURCES[collection].relation(RESOURCES[collection].part_of)
    if relation is None:
        raise BadControl(f"owner: {collection} are parts of nothing")
    return relation.target


def _counted(count: object) -> int:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise BadControl(f"count: {count!r} is no whole number from 0 up")
    return count


def _seconds(late: object) -> float:
    if not isinstance(late, int | float) or isinstance(late, bool) or late < 0:
        raise BadControl(f"late: {late!r} is no number of seconds from 0 up")
    return late


ROW_OPERATIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "rows": _rows,
    "touch": _touch,
    "insert": _insert,
    "delete": _delete,
    "merge": _merge,
}
