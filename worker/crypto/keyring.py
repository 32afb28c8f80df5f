"""The keyring: master keys with ids, oldest to newest. The newest seals, every one of them opens.

Its text, in a file, an environment variable, a systemd credential or a command's output, is one key a line:

    # comment
    k1 0Zx…43 characters of base64url…

A key is 256 bits. Its id is stored with every value it seals, so that a rotation can go on for days.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import KeyUnusable, UsageFault
from worker.redact import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

#: AES-256.
KEY_BYTES = 32
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_ID_WORDS = "1 to 32 letters, digits, dots, dashes or underscores, the first a letter or digit"
_NUMBERED = re.compile(r"k([1-9][0-9]{0,8})")
_HEADER = """\
# headless-worker keyring: one "id key" a line, oldest to newest. The last one seals, every one opens.
# Whoever has this file and the database has every grant. Without it the database is lost: keep a copy elsewhere.
"""


@dataclass(frozen=True)
class Key:
    """One master key."""

    id: str
    material: Secret

    def bytes(self) -> bytes:
        """The 32 bytes themselves."""
        return _decode(self.material.reveal())


@dataclass(frozen=True)
class Keyring:
    """Master keys, oldest to newest; never empty."""

    keys: tuple[Key, ...]

    @property
    def newest(self) -> Key:
        """The key that seals."""
        return self.keys[-1]

    def find(self, key_id: str) -> Key | None:
        """The key with this id, or None."""
        return next((key for key in self.keys if key.id == key_id), None)


def parse_keyring(text: str, place: str) -> Keyring:
    """Read a keyring's text. `place` names where it came from, for the message.

    Raises KeyUnusable on the first line that is off; the message names the line, never the key.
    """
    if text.startswith("\ufeff"):
        raise KeyUnusable(f"{place} begins with a byte order mark; save it as plain text without one")
    keys: list[Key] = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        keys.append(_parse_line(content, f"{place}, line {number}"))
        if len({key.id for key in keys}) != len(keys):
            raise KeyUnusable(f'{place}, line {number}: key id "{keys[-1].id}" stands there twice')
    if not keys:
        raise KeyUnusable(
            f"{place} holds no key",
            hint="restore the keyring from your copy; only for a new database: worker keys new",
        )
    return Keyring(tuple(keys))


def _parse_line(content: str, place: str) -> Key:
    parts = content.split()
    if len(parts) != 2:  # noqa: PLR2004 - an id and a key
        raise KeyUnusable(f"{place}: expected an id and a key, found {len(parts)} words")
    key_id, material = parts
    if not is_key_id(key_id):
        raise KeyUnusable(f"{place}: a key id has {_ID_WORDS}")
    try:
        size = len(_decode(material))
    except (binascii.Error, ValueError):
        raise KeyUnusable(f'{place}: key "{key_id}" is not base64url') from None
    if size != KEY_BYTES:
        raise KeyUnusable(
            f'{place}: key "{key_id}" has {size} bytes, a key has {KEY_BYTES}; was the line cut?',
            hint="restore the keyring from your copy",
        )
    return Key(key_id, Secret(material))


def _decode(material: str) -> bytes:
    return base64.b64decode(material + "=" * (-len(material) % 4), altchars=b"-_", validate=True)


def new_key(key_id: str) -> Key:
    """A fresh random key."""
    material = base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).rstrip(b"=").decode()
    return Key(key_id, Secret(material))


def next_key_id(known: Iterable[str]) -> str:
    """The next of k1, k2, k3 … that was never used: an id that came back would make old backups look tampered with."""
    numbers = [int(found[1]) for key_id in known if (found := _NUMBERED.fullmatch(key_id))]
    return f"k{max(numbers, default=0) + 1}"


def is_key_id(text: str) -> bool:
    """Whether a key can be called so."""
    return _ID.fullmatch(text) is not None


def check_key_id(key_id: str) -> str:
    """The same id. Raises UsageFault when it cannot be one."""
    if not is_key_id(key_id):
        raise UsageFault(f'"{key_id}" is no key id: it has {_ID_WORDS}')
    return key_id


def render_keyring(keys: Sequence[Key]) -> str:
    """The keyring's text."""
    return _HEADER + "".join(f"{key.id} {key.material.reveal()}\n" for key in keys)


def create_keyring_file(path: Path, keys: Sequence[Key]) -> None:
    """Write a new keyring file, readable by its owner only from the first byte on; durable when this returns.

    Raises KeyUnusable when something stands there already: a key is never replaced by accident.
    """
    create_private_file(path, render_keyring(keys), "a keyring")


def create_private_file(path: Path, text: str, what: str) -> None:
    """Write a new file, readable by its owner only from the first byte on; durable when this returns.

    Raises KeyUnusable when something stands there already, or when it cannot be written; `what` names it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise KeyUnusable(f"{path} exists already; {what} is never overwritten") from None
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except OSError as error:
        # Half of it is nothing, and would stand in the way of the next try.
        path.unlink(missing_ok=True)
        raise KeyUnusable(f"{path} cannot be written: {error.strerror}") from None


def sync_directory(path: Path) -> None:
    """Make a new or renamed entry of this directory survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
