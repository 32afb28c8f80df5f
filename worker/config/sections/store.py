"""`[store]`: where grants, schedules and history are kept."""

from __future__ import annotations

from worker.config.model import StoreSection
from worker.config.options import Option, Reading, Section
from worker.config.store_url import STORE_URL, holds_password, sqlite_path

_OPTIONS = (
    Option(
        "url",
        STORE_URL,
        "A SQLite file on a local disk (never on a network file system), relative to this file or with four slashes "
        "absolute; or postgresql://USER@HOST/DATABASE for several machines. A URL with a password belongs in url_file, "
        "url_env or url_command.",
        default="sqlite:///state/worker.db",
        secret=True,
        quiet=True,
        aliases=("database", "dsn", "path"),
    ),
)


def _password_in_the_file(reading: Reading) -> None:
    source = reading["url"]
    if source is not None and source.literal is not None and holds_password(source.literal.reveal()):
        reading.doubt("url", "a password that stands in the file in clear text; use url_file, url_env or url_command")


def _build(_name: str, reading: Reading) -> StoreSection:
    source = reading["url"]
    if source.literal is None:
        return StoreSection("", source, None)
    url = source.literal.reveal()
    return StoreSection(url, None, sqlite_path(url))


STORE = Section(
    "store",
    "table",
    "The database of grants (encrypted), schedules and history.",
    _OPTIONS,
    _build,
    rules=(_password_in_the_file,),
)
