"""A process that loads one checkpoint's rows with dlt: `python -m worker.jobs.sinks.dlt_child`.

Standard input: a line of JSON (`Order`), then pickles of `(number of the table, rows)`, and `(number, None)` behind the
last rows of each table, tables in order. Standard output: one JSON object, empty or with `kind` and `error`. What dlt
has to say goes to standard error. Imports nothing of ours: dlt owns this process, its signals and its logging.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The order in which rows of one checkpoint were emitted: of two with the same key the later one counts.
ORDER_COLUMN = "_worker_row"
#: Characters of an error: what a pipe takes without anybody reading it.
_LONGEST = 4000


class Table(TypedDict):
    """One table of a checkpoint."""

    name: str
    #: Columns; empty when rows are only ever added.
    key: list[str]
    #: In which of dlt's file formats it is loaded; empty: the destination's own choice.
    format: str


class Order(TypedDict):
    """What is to be loaded, and where."""

    pipeline: str
    folder: str
    destination: str
    dataset: str
    #: A URL, a JSON object, a path, or None.
    credentials: Any
    settings: dict[str, Any]
    #: Whether lists inside of rows stay JSON in a column.
    flat: bool
    tables: list[Table]


def load(order: Order, source: IO[bytes]) -> None:
    """Load everything. Whatever dlt raises comes out."""
    import dlt  # noqa: PLC0415 - half a second, and an error to be told
    from dlt.common.destination import Destination  # noqa: PLC0415 - as above

    credentials = {} if order["credentials"] is None else {"credentials": order["credentials"]}
    destination = Destination.from_reference(order["destination"], **credentials, **order["settings"])
    pipeline = dlt.pipeline(
        order["pipeline"], pipelines_dir=order["folder"], destination=destination, dataset_name=order["dataset"]
    )
    # What a process that died has left half-loaded comes again: the cursor has not moved.
    with warnings.catch_warnings(action="ignore"):  # from 1.30 on there is a way that asks the destination first
        pipeline.drop_pending_packages()
    _forget_loaded(order)
    resources = [
        dlt.resource(_rows(source, number, numbered=bool(table["key"])), **_hints(table, flat=order["flat"]))
        for number, table in enumerate(order["tables"])
    ]
    pipeline.run(resources).raise_on_failed_jobs()
    _forget_loaded(order)


def _forget_loaded(order: Order) -> None:
    """By itself dlt keeps each row that it has ever loaded. The rest of a load that failed stays until the next."""
    folder = Path(order["folder"], order["pipeline"], "load", "loaded")
    for package in folder.iterdir() if folder.is_dir() else ():
        shutil.rmtree(package, ignore_errors=True)


def _hints(table: Table, *, flat: bool) -> dict[str, Any]:
    hints: dict[str, Any] = {"name": table["name"], "write_disposition": "append"}
    if flat:
        hints["max_table_nesting"] = 0
    if table["format"]:
        hints["file_format"] = table["format"]
    if table["key"]:
        order = {ORDER_COLUMN: {"data_type": "bigint", "dedup_sort": "desc"}}
        hints |= {"primary_key": table["key"], "write_disposition": "merge", "columns": order}
    return hints


def _rows(source: IO[bytes], number: int, *, numbered: bool) -> Iterator[list[dict[str, Any]]]:
    """The rows of one table, pack by pack. The tables before it must have been read."""
    count = 0
    while True:
        of, rows = pickle.load(source)  # noqa: S301 - from the process that started this one
        if of != number:
            raise RuntimeError(f"dlt asks for the tables in another order: {number} instead of {of}")
        if rows is None:
            return
        if numbered:
            for row in rows:
                row[ORDER_COLUMN] = count = count + 1
        yield rows


def explanation(error: BaseException) -> dict[str, str]:
    """What kind of fault it is (`later`, `config`, `failed`), and its own words."""
    from dlt.common.configuration.exceptions import ConfigurationException  # noqa: PLC0415 - as above
    from dlt.common.destination.exceptions import UnknownDestinationModule  # noqa: PLC0415 - as above
    from dlt.common.exceptions import MissingDependencyException, TransientException  # noqa: PLC0415 - as above

    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
    config = (ConfigurationException, MissingDependencyException, UnknownDestinationModule, TypeError)
    for one in chain:
        if isinstance(one, config):
            return {"kind": "config", "error": _words(one)}
        # Every driver has an OperationalError (PEP 249): no connection, or not with this password.
        if type(one).__name__ == "OperationalError" and "authentication" in str(one):
            return {"kind": "config", "error": _words(one)}
        if isinstance(one, TransientException | OSError) or type(one).__name__ == "OperationalError":
            return {"kind": "later", "error": _words(one)}
    return {"kind": "failed", "error": _words(getattr(error, "exception", None) or error)}


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST]


def main() -> int:
    """Load, and tell how it went."""
    # Whatever is printed is dlt's; the answer goes where nobody else writes.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    order: Order = json.loads(sys.stdin.buffer.readline())
    try:
        load(order, sys.stdin.buffer)
    except ImportError as error:
        told = {"kind": "config", "error": _words(error)}
    except Exception as error:  # noqa: BLE001 - a destination may raise anything
        told = explanation(error)
    else:
        told = {}
    with answer:
        json.dump(told, answer)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
