"""The keyring, from wherever the configuration says that it comes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from worker.crypto.keyring import parse_keyring
from worker.crypto.origin import KeyringOrigin
from worker.crypto.sealing import Sealer
from worker.errors import KeyUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.config.model import Config
    from worker.crypto.keyring import Keyring
    from worker.redact import Scrubber


def make_sealer(config: Config, environ: Mapping[str, str], scrubber: Scrubber) -> Sealer:
    """The keyring, ready to seal. Raises KeyUnusable, Misconfigured, TryAgainLater (its command does not end)."""

    def read() -> Keyring:
        return _read_keyring(config, environ)

    origin, file = None, find_keyring_file(config, environ)
    if file is not None or config.keyring.source.kind == "command":
        # Made before the first reading: a change in between is then seen as one.
        origin = KeyringOrigin(read, file)
    return Sealer(read(), scrubber, origin)


def find_keyring_file(config: Config, environ: Mapping[str, str]) -> Path | None:
    """The keyring's file, if it is one that may change; a systemd credential is a copy made at the start."""
    source = config.keyring.source
    path = source.path(environ, config.base_dir) if source.kind == "file" else None
    credentials = environ.get("CREDENTIALS_DIRECTORY", "")
    return None if path is None or (credentials and path.is_relative_to(credentials)) else path


def _read_keyring(config: Config, environ: Mapping[str, str]) -> Keyring:
    source = config.keyring.source
    path = source.path(environ, config.base_dir)
    if path is not None and not os.path.lexists(path):
        raise KeyUnusable(
            f"there is no keyring at {path}",
            hint="restore it from your copy, or: worker keys recover FILE; only for a new database: worker keys new",
        )
    text = source.read(environ, config.base_dir)
    return parse_keyring(text.reveal(), f"the keyring ({source.kind} {source.value})")
