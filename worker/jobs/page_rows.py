"""Finding the rows in an API's answer: a list, or an object that holds one under a name that most APIs use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError
from worker.jobs.json_body import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import requests

    RowsFrom = str | Callable[[requests.Response], Iterable[Mapping[str, Any]]] | None

#: Names under which collections stand, tried in this order before "the only list of objects there is".
ROW_NAMES = ("data", "items", "results", "value", "values", "records", "rows", "entries", "content", "list")


def dig(value: Any, path: str) -> Any:
    """The value at a dotted path in nested objects; None where there is none.

    A name that itself contains dots (`@odata.nextLink`) is found as well.
    """
    if not isinstance(value, Mapping):
        return None
    if path in value:
        return value[path]
    head, _, rest = path.partition(".")
    return dig(value.get(head), rest) if rest else None


def read_body(response: requests.Response, *, required: bool) -> Any:
    """The JSON body; None when there is none. Raises WorkerError when it is `required` and is something else."""
    if not response.content:
        return None
    try:
        return read_json(response)
    except ValueError:
        if not required:
            return None
        kind = response.headers.get("Content-Type") or "of no declared type"
        raise WorkerError(
            f"{_place(response)} answered with a body that is not JSON ({kind})",
            hint="for other formats pass rows=function, which reads the rows from the response",
        ) from None


def find_rows(response: requests.Response, body: Any, rows: RowsFrom) -> list[dict[str, Any]]:
    """The answer's rows. `rows` is a dotted path, a function of the response, or None to look in the usual places.

    Raises WorkerError that names what the answer holds when no rows can be made out.
    """
    if callable(rows):
        found: Any = list(rows(response))
    elif body is None:
        return []
    elif rows is not None:
        found = dig(body, rows)
        if found is None and isinstance(body, Mapping):
            raise WorkerError(f"{_place(response)} holds no {rows!r}; it has {_names(body)}")
    else:
        found = _usual_place(response, body)
    return _checked(response, found)


def _usual_place(response: requests.Response, body: Any) -> Any:
    if not isinstance(body, Mapping):
        return body
    for name in ROW_NAMES:
        if isinstance(body.get(name), list):
            return body[name]
    lists = [value for value in body.values() if isinstance(value, list) and all(isinstance(x, Mapping) for x in value)]
    if len(lists) == 1:
        return lists[0]
    raise WorkerError(
        f"{_place(response)}: cannot tell which part of the answer holds the rows; it has {_names(body)}",
        hint='name it: rows="some.path" in ctx.pages, or rows of the resource',
    )


def _checked(response: requests.Response, found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list):
        raise WorkerError(f"{_place(response)}: the rows are no list but a {type(found).__name__}")
    for number, row in enumerate(found):
        if not isinstance(row, Mapping):
            raise WorkerError(
                f"{_place(response)}: row {number} is no object but a {type(row).__name__}",
                hint="pass rows=function, which makes a dict of each",
            )
    return [dict(row) for row in found]


def _names(body: Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in list(body)[:12]) or "no names at all"


def _place(response: requests.Response) -> str:
    return f"the answer of {response.url.partition('?')[0]}"
