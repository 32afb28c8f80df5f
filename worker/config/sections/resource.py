"""`[[jobs.NAME.resources]]`: what a job without code (`uses = "rest"`) reads, one table for each collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.config.faults import UNREAD, Spot, quoted
from worker.config.kinds import BOOLEAN, Kind, list_of, text
from worker.config.kinds_rest import FIELDS, INCREMENTAL, KEY, PAGING, PARAMS, PATH_PATTERN, placeholders
from worker.config.model import Paging, ResourceConfig
from worker.config.options import Option, Reading, Section, read_table

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Names stand in cursors, placeholders and, unless `table` says otherwise, in databases.
_WORD = text(
    r"[A-Za-z][A-Za-z0-9_]{0,62}",
    "a name of letters, digits and underscores, 63 at most, that begins with a letter",
    label="name",
)

_OPTIONS = (
    Option(
        "name",
        _WORD,
        "What the collection is called in the cursor and in the paths of others.",
        example="customers",
        required=True,
    ),
    Option(
        "path",
        text(PATH_PATTERN, 'a path under api_base such as "/customers", or a whole https:// URL', label="path"),
        "Where it is, under the integration's api_base. {OTHER.FIELD} stands for a field of each row of another "
        'resource, listed above this one: "/customers/{customers.id}/notes". Without it: the name.',
        example="/customers",
        aliases=("url", "endpoint"),
    ),
    Option(
        "params",
        PARAMS,
        "Query parameters of the first request; text may hold {OTHER.FIELD}.",
        example={"status": "all"},
        aliases=("parameters", "query"),
    ),
    Option(
        "paging",
        PAGING,
        "How the next page is asked for: a style (auto, link, next_url, cursor, offset, page, single), or a table of a "
        "style and its settings. auto finds Link headers, URLs and cursors; offset and page have to be named.",
        default="auto",
        example={"style": "cursor", "path": "meta.next", "parameter": "after"},
        aliases=("pagination", "paginator"),
    ),
    Option(
        "rows",
        text(),
        "Where in the answer the rows are, as a dotted path. Without it: the answer itself if it is a list, or the "
        "usual names (data, items, results, …).",
        example="data",
        aliases=("data_selector", "data_path", "records"),
    ),
    Option(
        "primary_key",
        KEY,
        "The column, or columns, that identify a row: it takes the place of the one with the same key. Without it "
        "every run adds its rows.",
        example="id",
        aliases=("key", "keys"),
    ),
    Option(
        "incremental",
        INCREMENTAL,
        "Ask only for what has changed: field (dotted path in a row, times or numbers), param (the query parameter it "
        "goes back in), initial (for the first run), overlap (how far to reach back, 1m), order (any, or ascending "
        "where the API sorts by the field: then the cursor moves with each page).",
        example={"field": "updated_at", "param": "since", "initial": "2020-01-01T00:00:00Z"},
        aliases=("cursor",),
    ),
    Option(
        "fields",
        FIELDS,
        "The fields to keep: a list of dotted paths (the column's name has _ for .), or a table of columns and paths. "
        "Without it: all.",
        example={"id": "id", "city": "address.city"},
        aliases=("columns", "select"),
    ),
    Option(
        "deletions",
        BOOLEAN,
        "Rows that the list no longer names are taken away, too, unless they are suspiciously many "
        "(docs/deletions.md). For resources that are read whole each time.",
        default=False,
    ),
    Option("table", _WORD, "The table of its rows. Without it: the name.", example="crm_customers"),
    Option(
        "scopes",
        list_of(text(), '["read"]'),
        "Scopes without which it cannot be read; an account whose grant lacks one has the job parked.",
        example=["read"],
    ),
)


def _place_of_it(reading: Reading) -> None:
    """The parent whose rows the path is made from."""
    texts = [reading["path"] or "", *(value for value in (reading["params"] or {}).values() if isinstance(value, str))]
    found = [place for each in texts for place in placeholders(each)]
    parents = sorted({parent for parent, _ in found})
    if len(parents) > 1:
        reading.refuse("path", f"takes from {' and '.join(map(quoted, parents))}; a resource has one parent at most")
    reading.values["parent"] = parents[0] if parents else None
    reading.values["parent_fields"] = tuple(dict.fromkeys(field for _, field in found))


def _fits_together(reading: Reading) -> None:
    key, columns = reading["primary_key"], reading["fields"]
    if reading["incremental"] is not None:
        if key is None and "primary_key" not in reading.faulty:
            reading.refuse(
                "primary_key", 'missing; rows at the border of two runs come twice: write primary_key = "id"'
            )
        if reading["parent"] is not None:
            reading.refuse("incremental", "not possible below a parent: a row is read with its parent's; remove it")
    if key is None and "primary_key" not in reading.faulty:
        reading.spot.doubt('no primary_key, so each run adds all its rows again; write primary_key = "id"')
    if key is not None and columns is not None:
        kept = {column for column, _ in columns} | set(parent_columns(reading["parent"], reading["parent_fields"]))
        missing = next((name for name in key if name not in kept), None)
        if missing is not None:
            reading.refuse("fields", f"keeps no {quoted(missing)}, which is the primary_key; add it")


def parent_columns(parent: str | None, fields: Sequence[str]) -> list[str]:
    """What the columns are called that tell whose child a row is: `_customers_id`."""
    return [f"_{parent}_{field.replace('.', '_')}" for field in fields] if parent else []


def _never_skips(reading: Reading) -> None:
    """In a list that is sorted by change a changed row goes to the end, and all behind it move up by one."""
    wanted, paging = reading["incremental"], reading["paging"]
    if wanted and paging and wanted.order == "ascending" and paging.style in {"offset", "page"}:
        reading.refuse(
            "paging",
            f'style "{paging.style}" counts rows, and those of a list sorted by change move up while it is read: some '
            'would be skipped; remove order = "ascending", and ask for another order in params',
        )


def _names_all(reading: Reading) -> None:
    """Only a list that names every row says which are gone."""
    if not reading["deletions"]:
        return
    if reading["incremental"] is not None:
        reading.refuse(
            "deletions", "not possible with incremental, which names only what has changed; keep one of the two"
        )
    if reading["primary_key"] is None and "primary_key" not in reading.faulty:
        reading.refuse("primary_key", 'missing; rows without one cannot be missed: write primary_key = "id"')
    if reading["paging"] is not None and reading["paging"].style in {"offset", "page"}:
        reading.doubt("deletions", "rows that slip from page to page while they are counted look deleted for one run")


def _build(_name: str, reading: Reading) -> ResourceConfig:
    values = dict(reading.values)
    return ResourceConfig(
        **{
            **values,
            "path": values["path"] or values["name"],
            "params": values["params"] or {},
            "paging": values["paging"] or Paging("auto"),
            "primary_key": values["primary_key"] or (),
            "table": values["table"] or values["name"],
            "scopes": values["scopes"] or (),
        }
    )


RESOURCES = Section(
    "jobs.NAME.resources",
    "list",
    'What a job without code reads: `uses = "rest"`, and a table of this kind for each collection (docs/rest.md).',
    _OPTIONS,
    _build,
    rules=(_place_of_it, _fits_together, _never_skips, _names_all),
)


def _read_resources(value: object, spot: Spot) -> Any:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return spot.mistyped(value, "[[jobs.NAME.resources]], with two brackets, for each")
    before = len(spot.faults.problems)
    readings = [read_table(RESOURCES, item, spot.item(number), {}) for number, item in enumerate(value, start=1)]
    _refuse_twice(readings)
    _refuse_orphans(readings)
    _refuse_two_keys(readings)
    _refuse_half_lists(readings)
    if len(spot.faults.problems) > before:
        return UNREAD
    return tuple(_build("", reading) for reading in readings)


RESOURCE_LIST = Kind("list of tables, see below", _read_resources)


def _refuse_twice(readings: Sequence[Reading]) -> None:
    seen: set[str] = set()
    for reading in readings:
        name = reading["name"]
        if name is not None and name in seen:
            reading.refuse("name", f"{quoted(name)} is there already; names are unique within a job")
        seen.add(name)


def _refuse_orphans(readings: Sequence[Reading]) -> None:
    """A parent stands above its children: that way there are no circles."""
    above: set[str] = set()
    for reading in readings:
        parent = reading["parent"]
        if parent is not None and parent not in above:
            known = ", ".join(sorted(above)) or "none"
            reading.refuse("path", f"takes from {quoted(parent)}, which is not listed above it; above it: {known}")
        if reading["name"] is not None:
            above.add(reading["name"])


def _refuse_two_keys(readings: Sequence[Reading]) -> None:
    keys: dict[str, Any] = {}
    for reading in readings:
        table = reading["table"] or reading["name"]
        if table is None or {"table", "primary_key"} & reading.faulty:
            continue
        if keys.setdefault(table, reading["primary_key"]) != reading["primary_key"]:
            reading.refuse("table", f"{quoted(table)} has another primary_key above; a table has one")


def _refuse_half_lists(readings: Sequence[Reading]) -> None:
    """What hangs below an incremental parent, or shares its table with another resource, is never listed whole."""
    by_name = {reading["name"]: reading for reading in readings}
    tables = [reading["table"] or reading["name"] for reading in readings]
    for reading, table in zip(readings, tables, strict=True):
        if not reading["deletions"]:
            continue
        if tables.count(table) > 1:
            reading.refuse(
                "deletions", f"another resource writes to {quoted(table)}, too; give each a table of its own"
            )
        above = by_name.get(reading["parent"])
        while above is not None and above["incremental"] is None:
            above = by_name.get(above["parent"])
        if above is not None:
            reading.refuse(
                "deletions", f"{quoted(above['name'])} above it is incremental, so its rows are never all read"
            )
