"""`[sinks.NAME]`: where rows go."""

from __future__ import annotations

import re

from worker.config.faults import quoted, suggestion
from worker.config.kinds import FREE_TABLE, PATH, choice, duration, text, whole_number
from worker.config.model import SinkConfig
from worker.config.names import NAME
from worker.config.options import Option, Reading, Section
from worker.config.store_url import SERVER_URL, holds_password

#: Options of some types only; all others belong to every type.
_OF_TYPE = {
    "path": ("sqlite", "jsonl", "dlt"),
    "url": ("postgresql",),
    "schema": ("postgresql",),
    "rotate_bytes": ("jsonl",),
    "rotate_every": ("jsonl",),
    "destination": ("dlt",),
    "dataset": ("dlt",),
    "credentials": ("dlt",),
    "settings": ("dlt",),
    "nested": ("dlt",),
    "deletions": ("sqlite", "postgresql"),
}
#: Bytes after which a file of lines is finished: a size that tools open at once, some hundred thousand rows.
_ROTATE_BYTES = 64 * 2**20
#: dlt's own, by `dlt.destinations`; another may be named by its import path.
_DESTINATIONS = (
    "athena", "bigquery", "clickhouse", "databricks", "dremio", "duckdb", "ducklake", "dummy", "fabric", "filesystem",
    "hf", "iceberg", "lance", "lancedb", "motherduck", "mssql", "postgres", "qdrant", "redshift", "snowflake",
    "sqlalchemy", "synapse", "weaviate",
)  # fmt: skip
#: Those that nobody reaches without a password or a token.
_ASKING = (
    "clickhouse", "databricks", "dremio", "motherduck", "mssql", "postgres", "redshift", "snowflake", "sqlalchemy",
    "synapse",
)  # fmt: skip
_PATH_OF_DUCKDB = "state/warehouse.duckdb"
_PATHS = {"sqlite": "state/data.db", "jsonl": "state/data"}

_OPTIONS = (
    Option(
        "type",
        choice("sqlite", "jsonl", "postgresql", "dlt"),
        "sqlite: one database file, a table per kind of row. jsonl: a folder of text files, one JSON object a line. "
        "postgresql: tables on a server. dlt: any destination of dlt (DuckDB, BigQuery, Snowflake, …); needs the "
        "extra dlt.",
        example="sqlite",
        required=True,
    ),
    Option(
        "path",
        PATH,
        "The database file (sqlite, dlt with DuckDB) or the folder (jsonl), relative to this file.",
        example="state/data.db",
        aliases=("file", "folder", "directory"),
    ),
    Option(
        "url",
        SERVER_URL,
        "For postgresql: the server and its database. A URL with a password belongs in url_file, url_env or "
        "url_command; it is read again when the server refuses it.",
        example="postgresql://worker@db.example.org/warehouse",
        secret=True,
        quiet=True,
        alternative=True,
        aliases=("dsn", "database"),
    ),
    Option(
        "schema",
        text(r".{1,63}", "the name of a schema", label="name"),
        "For postgresql: the schema of the tables, made if it is not there.",
        default="public",
        alternative=True,
    ),
    Option(
        "deletions",
        choice("remove", "mark"),
        "For sqlite and postgresql: what becomes of rows that are gone at the source. remove: they are deleted. mark: "
        "they stay, with the time in the column _deleted_at. A jsonl file gets a line with _deleted_at.",
        default="remove",
        alternative=True,
    ),
    Option(
        "rotate_bytes",
        whole_number(1024, 2**40),
        "For jsonl: a file of about this many bytes is finished, and the next one begins.",
        default=_ROTATE_BYTES,
        alternative=True,
    ),
    Option(
        "rotate_every",
        duration(1),
        "For jsonl: a file is finished this long after its first row, at the next run or checkpoint. Without it: "
        "only by size.",
        example="1h",
        alternative=True,
    ),
    Option(
        "destination",
        text(r"[a-z][a-z0-9_]*(\.\w+)*", "the name of a dlt destination", label="name"),
        "For dlt: where it loads, e.g. duckdb, postgres, bigquery, snowflake, filesystem. Its drivers are installed "
        'with pip install "dlt[NAME]".',
        example="duckdb",
        alternative=True,
    ),
    Option(
        "dataset",
        text(r"[A-Za-z_][A-Za-z0-9_]{0,62}", "letters, digits and underscores", label="name"),
        "For dlt: the schema or dataset of the tables. Without it: the sink's name, with _data behind it where that is "
        "also the name of DuckDB's file.",
        example="crm",
        alternative=True,
    ),
    Option(
        "credentials",
        text(),
        "For dlt: what the destination asks for, a URL or a JSON object, as dlt documents it.",
        secret=True,
        alternative=True,
    ),
    Option(
        "settings",
        FREE_TABLE,
        "For dlt: what else the destination takes, as dlt documents it; no secrets.",
        example={"bucket_url": "s3://rows"},
        alternative=True,
    ),
    Option(
        "nested",
        choice("tables", "json"),
        "For dlt: lists inside of rows become tables of their own, or stay JSON in a column.",
        default="tables",
        alternative=True,
    ),
)


def _fits_its_type(reading: Reading) -> None:
    kind = reading["type"]
    if kind is None:
        return
    for option, types in _OF_TYPE.items():
        if kind not in types and option in reading.given:
            reading.refuse(option, f"a sink of type {kind} has none; remove it")
    if kind in _PATHS and reading.lacks("path"):
        reading.refuse("path", f'missing; write path = "{_PATHS[kind]}"')
    if kind == "postgresql" and reading.lacks("url"):
        reading.refuse("url", 'missing; write url = "postgresql://USER@HOST/DATABASE", url_file or url_env')
    if kind == "dlt":
        _says_where(reading)


def _says_where(reading: Reading) -> None:
    """DuckDB is a file; every other destination gets its address with the credentials."""
    destination = reading["destination"]
    if reading.lacks("destination"):
        reading.refuse("destination", 'missing; write destination = "duckdb", "postgres", "bigquery", …')
    if destination is not None and destination not in _DESTINATIONS and "." not in destination:
        _unknown_destination(reading, destination)
        return
    if destination in _ASKING and reading.lacks("credentials"):
        reading.doubt(
            "credentials",
            f"{destination} asks for some; write credentials_file, unless dlt finds them in settings of its own",
        )
    if destination == "duckdb" and reading.lacks("path"):
        reading.refuse("path", f'missing; write path = "{_PATH_OF_DUCKDB}"')
    if destination not in {"duckdb", None} and reading["path"] is not None:
        reading.refuse("path", f"destination {destination} has none; write credentials_file, or settings")
    if destination == "duckdb" and reading["path"] is not None:
        _apart_from_the_file(reading)
    if destination == "duckdb" and reading["credentials"] is not None:
        reading.refuse("credentials", "DuckDB has none; remove it")


def _unknown_destination(reading: Reading, destination: str) -> None:
    """A slip is refused; what resembles no destination that is known here may be one of a newer dlt."""
    mend = suggestion(destination, _DESTINATIONS)
    if mend:
        reading.refuse("destination", f"there is no {quoted(destination)}{mend}")
    else:
        reading.doubt("destination", f"no destination that is known: {', '.join(_DESTINATIONS)}")


def _apart_from_the_file(reading: Reading) -> None:
    """DuckDB names a file's content after the file, and cannot tell it from a schema of that name."""
    stem, dataset = reading["path"].stem.lower(), reading["dataset"]
    if dataset is None and "dataset" not in reading.faulty:
        name = default_dataset(reading.spot.place.partition(".")[2].strip('"'))
        if stem == name.lower():
            reading.values["dataset"] = f"{name}_data"
    elif dataset is not None and stem == dataset.lower():
        reading.refuse(
            "dataset",
            f"DuckDB calls the content of {quoted(reading['path'].name)} {quoted(dataset)}, too; "
            f'write dataset = "{dataset}_data", or another path',
        )


def default_dataset(sink: str) -> str:
    """The dataset of a sink that names none."""
    return re.sub(r"[^A-Za-z0-9]", "_", sink)


def _password_in_the_file(reading: Reading) -> None:
    source = reading["url"]
    if source is not None and source.literal is not None and holds_password(source.literal.reveal()):
        reading.doubt("url", "a password that stands in the file in clear text; use url_file, url_env or url_command")


def _build(name: str, reading: Reading) -> SinkConfig:
    return SinkConfig(name, **reading.values)


SINKS = Section(
    "sinks",
    "named",
    "Where rows go. Rows and the job's place are saved together.",
    _OPTIONS,
    _build,
    rules=(_fits_its_type, _password_in_the_file),
    names=NAME,
    example_name="local",
)
