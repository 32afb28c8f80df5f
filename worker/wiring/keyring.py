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


def _refuse_other_owner(file: Path) -> None:
    """Refuse a keyring of another user, as the database is refused: only root can read one, and should not use it.

    Mounts that are made for secrets (see `worker.config.secret_files`) show whatever owner they like.
    """
    owner = file.stat().st_uid
    mount = os.statvfs(file)
    if owner in {0, os.geteuid()} or mount.f_flag & os.ST_RDONLY or file.is_relative_to("/run/secrets"):
        return
    raise KeyUnusable(
        f"{file} belongs to user {owner}; this command runs as user {os.geteuid()}",
        hint=f"run it as that user: sudo -u '#{owner}' worker …; or, if it is yours: chown {os.geteuid()} {file}",
    )


def _read_keyring(config: Config, environ: Mapping[str, str]) -> Keyring:
    source = config.keyring.source
    path = source.path(environ, config.base_dir)
    if path is not None and not os.path.lexists(path):
        raise KeyUnusable(
            f"there is no keyring at {path}",
            hint="restore it from your copy, or: worker keys recover FILE; only for a new database: worker keys new",
        )
    text = source.read(environ, config.base_dir)
    file = find_keyring_file(config, environ)
    if file is not None:
        _refuse_other_owner(file)
    return parse_keyring(text.reveal(), f"the keyring ({source.kind} {source.value})")
