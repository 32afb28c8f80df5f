"""The store's URL, and a sink's: SQLAlchemy's spelling, with SQLite paths counted from the config file instead of from
wherever the process happens to be.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from worker.config.faults import UNREAD, Faults, Spot
from worker.config.kinds import Kind
from worker.config.paths import normal
from worker.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.config.secrets import SecretSource

_SQLITE = "sqlite:///"
_SERVER = ("postgresql://", "postgresql+psycopg://")
_RIGHT = 'write "sqlite:///state/worker.db" or "postgresql://HOST/DATABASE"'


def _read(value: object, spot: Spot) -> Any:
    if not isinstance(value, str):
        return spot.mistyped(value, 'a URL such as "sqlite:///state/worker.db"')
    if not value.isprintable():
        return spot.refuse(f"holds a control character; {_RIGHT}")
    if value.startswith("sqlite:"):
        return _read_sqlite(value, spot)
    if value.startswith("postgres://"):
        return spot.refuse('begins with "postgres://"; write "postgresql://"')
    if not value.startswith(_SERVER) or not _is_url(value):
        return spot.refuse(f"neither a SQLite nor a PostgreSQL URL; {_RIGHT}")
    return value


def _is_url(value: str) -> bool:
    try:
        _ = urlsplit(value).port
    except ValueError:
        return False
    return True


def _read_sqlite(value: str, spot: Spot) -> Any:
    name = value.removeprefix(_SQLITE)
    if name == value or not name.strip() or name == ":memory:":
        return spot.refuse(
            "no file: a store in memory would lose every grant; "
            'write "sqlite:///state/worker.db" (three slashes, then a path relative to this file)'
        )
    if "?" in name or "#" in name:
        return spot.refuse('options after "?" are not taken over; write only the path')
    path = normal(spot.base / name)
    if "?" in str(path):
        return spot.refuse('"?" in the name of this folder cannot be part of a URL; rename the folder')
    return f"{_SQLITE}{path}"


STORE_URL = Kind("store URL", _read)


def _read_server(value: object, spot: Spot) -> Any:
    right = 'write "postgresql://USER@HOST/DATABASE"'
    if not isinstance(value, str):
        return spot.mistyped(value, 'a URL such as "postgresql://USER@HOST/DATABASE"')
    if not value.isprintable() or not value.startswith("postgresql://") or not _is_url(value):
        return spot.refuse(f"no PostgreSQL URL; {right}")
    return value


SERVER_URL = Kind("PostgreSQL URL", _read_server)


def sqlite_path(url: str) -> Path | None:
    """The database file of a URL that STORE_URL has read, None for a server."""
    return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None


def holds_password(url: str) -> bool:
    """Whether the URL spells out a password."""
    return bool(urlsplit(url).password) if url.startswith(_SERVER) else False


def fetched_url(source: SecretSource, environ: Mapping[str, str], base_dir: Path, kind: Kind = STORE_URL) -> str:
    """The URL from wherever it is. Raises Misconfigured; the URL itself is never quoted."""
    faults = Faults()
    url = kind.read(source.read(environ, base_dir).reveal().strip(), Spot(source.place, faults, base_dir, secret=True))
    if url is UNREAD:
        raise Misconfigured("; ".join(f"{place}: {what}" for place, what in faults.problems))
    return str(url)
