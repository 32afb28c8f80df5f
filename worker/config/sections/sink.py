"""`[sinks.NAME]`: where rows go."""

from __future__ import annotations

from worker.config.kinds import PATH, choice, text
from worker.config.model import SinkConfig
from worker.config.names import NAME
from worker.config.options import Option, Reading, Section

#: In the schema, so that a file written for a later version is told so instead of "unknown".
_LATER = frozenset({"postgresql", "dlt"})

_OPTIONS = (
    Option(
        "type",
        choice("sqlite", "jsonl", "postgresql", "dlt", later=" (the last two are not available in this version)"),
        "sqlite: one database file, a table per kind of row. jsonl: a folder of text files, one JSON object a line.",
        example="sqlite",
        required=True,
    ),
    Option(
        "path",
        PATH,
        "The database file (sqlite) or the folder (jsonl), relative to this file.",
        example="state/data.db",
        aliases=("file", "folder", "directory"),
    ),
    Option("url", text(), "Where the server is.", secret=True, later=True),
)


def _fits_its_type(reading: Reading) -> None:
    kind = reading["type"]
    if kind in _LATER:
        reading.refuse("type", f'"{kind}" is not available in this version; write "sqlite" or "jsonl"')
    elif kind is not None:
        if reading.lacks("path"):
            reading.refuse("path", f'missing; write path = "state/{"data.db" if kind == "sqlite" else "data"}"')
        if "url" in reading.given:
            reading.refuse("url", f"a sink of type {kind} has a path, not a URL; remove it")


def _build(name: str, reading: Reading) -> SinkConfig:
    return SinkConfig(name, reading["type"], reading["path"])


SINKS = Section(
    "sinks",
    "named",
    "Where rows go. Rows and the job's place are saved together.",
    _OPTIONS,
    _build,
    rules=(_fits_its_type,),
    names=NAME,
    example_name="local",
)
