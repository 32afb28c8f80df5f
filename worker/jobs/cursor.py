"""A cursor is a small JSON object. It is checked when a job sets it: what cannot be stored must fail at the line that
made it, not at the next run.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping


def merge(current: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`current` with `values` over it; a name whose value is None is taken out. Neither argument is changed.

    Raises WorkerError naming the value that is not JSON.
    """
    merged = dict(current)
    for name, value in values.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _json_value(value, name)
    return merged


def to_text(cursor: Mapping[str, Any]) -> str:
    """The one spelling in which a cursor is stored."""
    return json.dumps(cursor, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def from_text(text: str, place: str) -> dict[str, Any]:
    """A stored cursor. Raises WorkerError naming `place` when it is not a JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise WorkerError(f"the cursor in {place} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise WorkerError(f"the cursor in {place} is not a JSON object")
    return value


def _json_value(value: Any, place: str) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise WorkerError(f"the cursor's {place} is {value}, which JSON cannot hold")
        return value
    if isinstance(value, list | tuple):
        return [_json_value(item, f"{place}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise WorkerError(f"the cursor's {place} has the name {name!r}, which is no text")
        return {name: _json_value(item, f"{place}.{name}") for name, item in value.items()}
    advice = "; store value.isoformat()" if hasattr(value, "isoformat") else ""
    raise WorkerError(f"the cursor's {place} is a {type(value).__name__}, which is not JSON{advice}")
