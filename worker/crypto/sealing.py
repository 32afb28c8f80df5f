"""Sealing: AES-256-GCM over one value, bound to the place it belongs to.

The associated data names table, row, field, generation and key id. A ciphertext that is moved to another row or
field, or put back from an older generation, does not open: whoever can write to the database but has no key can
destroy a grant, but cannot make one account speak with another's. What it cannot stop is the rollback of the whole
database; that takes a witness outside it.

A sealed value is `0x01 | length of key id | key id | nonce (12) | ciphertext and tag`. Nonces are random: with 96
bits, one key is good for 2^32 values (NIST SP 800-38D, section 8.3), some ten thousand years of refreshes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import KeyUnusable, TamperedSecret
from worker.redact import Scrubber, Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from worker.crypto.keyring import Keyring

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
    """Seals with the newest key, opens with any. Shows every secret that passes through to the scrubber."""

    def __init__(self, keyring: Keyring, scrubber: Scrubber | None = None) -> None:
        self.keyring = keyring
        #: Knows every secret that passed through here.
        self.scrubber = scrubber or Scrubber()
        self._ciphers: dict[str, AESGCM] = {}

    def seal(self, secret: Secret, binding: Binding) -> bytes:
        """The sealed value, for storage."""
        self._learn(secret)
        key_id = self.keyring.newest.id
        nonce = os.urandom(_NONCE_BYTES)
        header = bytes((_VERSION, len(key_id))) + key_id.encode()
        return (
            header
            + nonce
            + self._cipher(key_id).encrypt(nonce, secret.reveal().encode(errors=_LONE), binding.associated_data(key_id))
        )

    def open(self, sealed: bytes, binding: Binding) -> Secret:
        """The secret again.

        Raises KeyUnusable when its key is not on the keyring, TamperedSecret when it was changed or does not belong
        to this binding.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see the package's docstring

        key_id, nonce, ciphertext = _split(sealed, binding)
        try:
            plain = self._cipher(key_id).decrypt(nonce, ciphertext, binding.associated_data(key_id))
        except InvalidTag:
            raise TamperedSecret(
                f"{binding}: the sealed value does not open with key {key_id!r}; it was changed, or moved here from"
                " another row, field or generation",
                hint="restore the database from a backup, or enrol the account again",
                evidence={"place": str(binding), "key": key_id},
            ) from None
        secret = Secret(plain.decode(errors=_LONE))
        self._learn(secret)
        return secret

    def _learn(self, secret: Secret) -> None:
        self.scrubber.learn(secret)

    def _cipher(self, key_id: str) -> AESGCM:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as above

            key = self.keyring.find(key_id)
            if key is None:
                raise KeyUnusable(
                    f'the database holds values sealed with key "{key_id}", which is not on the keyring',
                    hint="put the old key back as a line of the keyring, above the newer ones",
                )
            cipher = self._ciphers[key_id] = AESGCM(key.bytes())
        return cipher


def key_id_of(sealed: bytes) -> str | None:
    """Which key sealed this; None when it is no sealed value."""
    if len(sealed) < 2 or sealed[0] != _VERSION:  # noqa: PLR2004 - version and length byte
        return None
    return sealed[2 : 2 + sealed[1]].decode("ascii", "replace")


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
