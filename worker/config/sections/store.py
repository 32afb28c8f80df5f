"""`[store]`: where grants, schedules and history are kept."""

from __future__ import annotations

from worker.config.kinds import PATH
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
    Option(
        "witness",
        PATH,
        "A file beside the database that tells when an old copy of it was put in its place: how often each account's "
        "tokens were replaced. Without this option: the file witness in state_dir. On another disk than the database "
        "it also survives that disk; its folder must exist. It holds no secret and belongs in no backup.",
        example="/var/lib/worker-witness/witness",
    ),
)


def _password_in_the_file(reading: Reading) -> None:
    source = reading["url"]
    if source is not None and source.literal is not None and holds_password(source.literal.reveal()):
        reading.doubt("url", "a password that stands in the file in clear text; use url_file, url_env or url_command")


def _build(_name: str, reading: Reading) -> StoreSection:
    source = reading["url"]
    if source.literal is None:
        return StoreSection("", source, None, reading["witness"])
    url = source.literal.reveal()
    return StoreSection(url, None, sqlite_path(url), reading["witness"])


STORE = Section(
    "store",
    "table",
    "The database of grants (encrypted), schedules and history.",
    _OPTIONS,
    _build,
    rules=(_password_in_the_file,),
)
