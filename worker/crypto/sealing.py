"""Sealing: AES-256-GCM over one value, bound to the place it belongs to.

The associated data names table, row, field, generation and key id. A ciphertext that is moved to another row or
field, or put back from an older generation, does not open: whoever can write to the database but has no key can
destroy a grant, but cannot make one account speak with another's. What it cannot stop is the rollback of the whole
database; that takes a witness outside it.

A sealed value is `0x01 | length of key id | key id | nonce (12) | ciphertext and tag`. Nonces are random: with 96
bits, one key is good for 2^32 values (NIST SP 800-38D, section 8.3), some ten thousand years of refreshes.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.crypto.keyring import is_key_id
from worker.errors import KeyUnusable, TamperedSecret, WorkerError
from worker.redact import Scrubber, Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from worker.crypto.keyring import Key, Keyring
    from worker.crypto.origin import KeyringOrigin

log = logging.getLogger(__name__)

_VERSION = 1
_NONCE_BYTES = 12
_TAG_BYTES = 16
#: A secret may hold anything that a string can, lone surrogates included; sealing it must not fail.
_LONE = "surrogatepass"


@dataclass(frozen=True)
class Binding:
    """Where a sealed value belongs."""

    table: str
    row: str
    field: str
    generation: int = 0

    def __str__(self) -> str:
        return f"{self.table} {self.row}, field {self.field}, generation {self.generation}"

    def associated_data(self, key_id: str) -> bytes:
        """Every part with its length before it, so that no two bindings read alike."""
        parts = ("headless-worker", self.table, self.row, self.field, str(self.generation), key_id)
        return b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in parts))


class Sealer:
    """Seals with the newest key, opens with any. Shows every secret that passes through to the scrubber.

    With an `origin` it follows a rotation made elsewhere: a changed keyring file is read before the next sealing, and a
    key that is missing is looked for there. Threads may share it.
    """

    def __init__(self, keyring: Keyring, scrubber: Scrubber | None = None, origin: KeyringOrigin | None = None) -> None:
        #: As it was read last.
        self.keyring = keyring
        #: Knows every secret that passed through here.
        self.scrubber = scrubber or Scrubber()
        #: None: the keyring is fixed for the life of this process.
        self.origin = origin
        #: Called with every keyring that is taken up later.
        self.on_change: Callable[[Keyring], None] = _ignore
        # A key that this process has had stays with it. Whoever takes its line away too early then does harm at the
        # next start, when it is noticed, and not in the middle of a refresh.
        self._keys = {key.id: key for key in keyring.keys}
        self._ciphers: dict[str, AESGCM] = {}
        self._lock = threading.Lock()

    def seal(self, secret: Secret, binding: Binding) -> bytes:
        """The sealed value, for storage."""
        self._learn(secret)
        self.look()
        key_id = self.keyring.newest.id
        nonce = os.urandom(_NONCE_BYTES)
        header = bytes((_VERSION, len(key_id))) + key_id.encode()
        return (
            header
            + nonce
            + self._cipher(key_id, binding).encrypt(
                nonce, secret.reveal().encode(errors=_LONE), binding.associated_data(key_id)
            )
        )

    def open(self, sealed: bytes, binding: Binding) -> Secret:
        """The secret again.

        Raises KeyUnusable when its key is not on the keyring, TamperedSecret when it was changed or does not belong
        to this binding.
        """
        key_id, nonce, ciphertext = _split(sealed, binding)
        if key_id not in self._keys:
            self._look_for(key_id, lambda cipher: _opened(cipher, key_id, nonce, ciphertext, binding))
        secret = _opened(self._cipher(key_id, binding), key_id, nonce, ciphertext, binding)
        self._learn(secret)
        return secret

    def look(self) -> None:
        """Take up a keyring file that has changed. One with faults is told once, and the old one goes on."""
        if self.origin is None or not self.origin.changed():
            return
        with self._lock:
            if self.origin.changed():
                self._read_anew(None)

    def reread(self) -> None:
        """Take up the keyring as it is now, whatever it costs: somebody has asked for it."""
        with self._lock:
            self._read_anew(None)

    def _look_for(self, key_id: str, prove: Callable[[AESGCM], object]) -> None:
        with self._lock:
            if key_id not in self._keys and self.origin is not None and self.origin.may_hold_more():
                self._read_anew((key_id, prove))

    def _read_anew(self, wanted: tuple[str, Callable[[AESGCM], object]] | None) -> None:
        if self.origin is None:
            return
        try:
            self._take_up(self.origin.read(), wanted)
        except WorkerError as error:
            # Sealing must go on: it may be the only copy of a token that is being stored.
            log.error("the keyring has changed and cannot be used; the old one goes on", extra={"error": error.message})

    def _take_up(self, ring: Keyring, wanted: tuple[str, Callable[[AESGCM], object]] | None) -> None:
        """Use another keyring. Raises KeyUnusable, TamperedSecret when it is not this store's."""
        shared = [key for key in ring.keys if key.id in self._keys]
        for key in shared:
            if key.bytes() != self._keys[key.id].bytes():
                raise KeyUnusable(f'key "{key.id}" is another one than this process began with')
        if not shared:
            # A store's keyring grows from its old one; a value of the store that opens is as good a proof.
            found = None if wanted is None else ring.find(wanted[0])
            if wanted is None or found is None:
                raise KeyUnusable("none of its keys was known to this process")
            wanted[1](_cipher_of(found))
        if ring.newest.id != self.keyring.newest.id and self.origin is not None:
            self.origin.sync()
        self._keys.update({key.id: key for key in ring.keys})
        self.keyring = ring
        self.on_change(ring)

    def _learn(self, secret: Secret) -> None:
        self.scrubber.learn(secret)

    def _cipher(self, key_id: str, binding: Binding) -> AESGCM:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            key = self._keys.get(key_id)
            if key is None:
                raise KeyUnusable(
                    f'{binding}: sealed with key "{key_id}", which is not on the keyring',
                    hint="put the old key back as a line of the keyring, above the newer ones; worker keys list",
                )
            cipher = self._ciphers[key_id] = _cipher_of(key)
        return cipher


def _ignore(_ring: Keyring) -> None:
    """Nobody wants to know."""


def _cipher_of(key: Key) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - see the package's docstring

    return AESGCM(key.bytes())


def _opened(cipher: AESGCM, key_id: str, nonce: bytes, ciphertext: bytes, binding: Binding) -> Secret:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see the package's docstring

    try:
        plain = cipher.decrypt(nonce, ciphertext, binding.associated_data(key_id))
    except InvalidTag:
        raise TamperedSecret(
            f"{binding}: the sealed value does not open with key {key_id!r}; it was changed, or moved here from"
            " another row, field or generation",
            hint="restore the database from a backup, or enrol the account again",
            evidence={"place": str(binding), "key": key_id},
        ) from None
    return Secret(plain.decode(errors=_LONE))


def key_id_of(sealed: bytes) -> str | None:
    """Which key sealed this; None when it is no sealed value."""
    if len(sealed) < 2 or sealed[0] != _VERSION:  # noqa: PLR2004 - version and length byte
        return None
    key_id = sealed[2 : 2 + sealed[1]].decode("ascii", "replace")
    # What nobody could have called a key is no id, and is not repeated on anybody's terminal.
    return key_id if len(key_id) == sealed[1] and is_key_id(key_id) else None


def _split(sealed: bytes, binding: Binding) -> tuple[str, bytes, bytes]:
    key_id = key_id_of(sealed)
    start = 2 + (sealed[1] if len(sealed) > 1 else 0)
    if key_id is None or len(sealed) < start + _NONCE_BYTES + _TAG_BYTES:
        raise TamperedSecret(
            f"{binding}: no sealed value, or a truncated one ({len(sealed)} bytes)",
            hint="restore the database from a backup, or enrol the account again",
            evidence={"place": str(binding), "bytes": len(sealed)},
        )
    nonce_end = start + _NONCE_BYTES
    return key_id, sealed[start:nonce_end], sealed[nonce_end:]
