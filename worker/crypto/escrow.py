"""Escrow: the keyring as a text that may lie in a safe, useless without its passphrase.

The passphrase is stretched with scrypt (RFC 7914), the keyring encrypted with AES-256-GCM under the result. All lines
before the ciphertext, salt and cost included, are its associated data. The last line is a checksum of everything above
it: it protects nothing, but tells a damaged copy from a mistyped passphrase. A text is read only if it is, byte for
byte, what we would have written: no bit of it can change unnoticed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.crypto.keyring import Keyring, parse_keyring, render_keyring
from worker.errors import KeyUnusable, UsageFault, WorkerError

if TYPE_CHECKING:
    from worker.redact import Secret

#: scrypt's cost: 2^17 blocks of 1 KiB are 128 MiB and some 0.4 s a guess, the least that OWASP's password storage
#: cheat sheet recommends for scrypt. 2^18 would need 256 MiB, more than a small container has in which to recover.
COST = 1 << 17
#: The most that is accepted from a file: 1 GiB. A file must not be able to take the machine down.
_HIGHEST_COST = 1 << 20
_BLOCK_SIZE, _PARALLEL = 8, 1
#: Whoever finds the file may guess for years; what a person can type and remember has to stand against that.
SHORTEST_PASSPHRASE = 12
_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32
_LINE = 64
_BEGIN, _END = "-----BEGIN HEADLESS-WORKER ESCROW-----", "-----END HEADLESS-WORKER ESCROW-----"
_COMMENT = """\
# The keyring of headless-worker, protected by a passphrase: the way back when the keyring is lost.
# Keep it offline, and the passphrase elsewhere. To prove it, and to get the keyring back: worker keys recover FILE
"""
_TEXT = re.compile(
    re.escape(_COMMENT + _BEGIN) + r"\nversion: (?P<version>[0-9]{1,9})\nscrypt: n=(?P<cost>[0-9]{1,18}) r=8 p=1\n"
    r"salt: (?P<salt>[A-Za-z0-9_-]{22})\nnonce: (?P<nonce>[A-Za-z0-9_-]{16})\n\n(?P<body>(?:[A-Za-z0-9_-]{1,64}\n)+)"
    + re.escape(_END)
    + r"\nchecksum: (?P<checksum>[0-9a-f]{16})\n",
    re.ASCII,
)


@dataclass(frozen=True)
class _Sealed:
    cost: int
    salt: bytes
    nonce: bytes
    ciphertext: bytes

    def header(self) -> str:
        return (
            f"{_COMMENT}{_BEGIN}\nversion: 1\nscrypt: n={self.cost} r={_BLOCK_SIZE} p={_PARALLEL}\n"
            f"salt: {_encode(self.salt)}\nnonce: {_encode(self.nonce)}\n\n"
        )

    def text(self) -> str:
        body = _encode(self.ciphertext)
        lines = "".join(f"{body[start : start + _LINE]}\n" for start in range(0, len(body), _LINE))
        above = f"{self.header()}{lines}{_END}\n"
        return f"{above}checksum: {_checksum(above)}\n"


def check_passphrase(passphrase: Secret) -> None:
    """Raise UsageFault when a passphrase is too short to protect anything."""
    if len(passphrase.reveal()) < SHORTEST_PASSPHRASE:
        raise UsageFault(
            f"the passphrase has fewer than {SHORTEST_PASSPHRASE} characters",
            hint="take six words that you roll with dice, or the like",
        )


def write_escrow(keyring: Keyring, passphrase: Secret, cost: int = COST) -> str:
    """The escrow text of a keyring. Raises UsageFault (passphrase too short), KeyUnusable (too little memory)."""
    check_passphrase(passphrase)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - see the package's docstring

    empty = _Sealed(cost, os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES), b"")
    cipher = AESGCM(_stretch(passphrase, empty))
    plain = render_keyring(keyring.keys).encode()
    ciphertext = cipher.encrypt(empty.nonce, plain, empty.header().encode())
    return _Sealed(cost, empty.salt, empty.nonce, ciphertext).text()


def read_escrow(text: str, passphrase: Secret, place: str) -> Keyring:
    """The keyring of an escrow text; `place` names it in messages.

    Raises KeyUnusable (no escrow, damaged, of a newer version, absurdly expensive), WorkerError (wrong passphrase).
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see the package's docstring
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as above

    sealed = _parse(text.replace("\r\n", "\n"), place)
    cipher = AESGCM(_stretch(passphrase, sealed))
    try:
        plain = cipher.decrypt(sealed.nonce, sealed.ciphertext, sealed.header().encode())
    except InvalidTag:
        raise WorkerError(
            f"{place} does not open: the passphrase is wrong, or somebody has changed the file",
            hint="type it again; mind the keyboard's language",
        ) from None
    return parse_keyring(plain.decode(), place)


def _parse(text: str, place: str) -> _Sealed:
    if _BEGIN not in text:
        raise KeyUnusable(f"{place} is no escrow file", hint="worker keys escrow FILE writes one")
    found = _TEXT.fullmatch(text)
    if found is None:
        raise _damaged(place)
    if found["version"] != "1":
        raise KeyUnusable(f"{place} is of version {found['version']}; this program reads version 1")
    cost = int(found["cost"])
    if not 1 < cost <= _HIGHEST_COST or cost & (cost - 1):
        raise KeyUnusable(f"{place} asks for scrypt with n={cost}; a power of two up to {_HIGHEST_COST} is accepted")
    try:
        parts = [_decode(found[name].replace("\n", "")) for name in ("salt", "nonce", "body")]
    except (binascii.Error, ValueError):
        raise _damaged(place) from None
    sealed = _Sealed(cost, *parts)
    if sealed.text() != text:
        raise _damaged(place)
    return sealed


def _damaged(place: str) -> KeyUnusable:
    return KeyUnusable(f"{place} is damaged: it is not as it was written", hint="take another copy of it")


def _stretch(passphrase: Secret, sealed: _Sealed) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415 - see the package's docstring

    # The same passphrase, whether the keyboard sends é as one character or as two.
    typed = unicodedata.normalize("NFC", passphrase.reveal()).encode(errors="surrogatepass")
    try:
        return Scrypt(sealed.salt, _KEY_BYTES, sealed.cost, _BLOCK_SIZE, _PARALLEL).derive(typed)
    except MemoryError:
        mebibytes = sealed.cost * _BLOCK_SIZE * 128 >> 20
        raise KeyUnusable(f"there is too little memory: the passphrase needs {mebibytes} MiB to be tried") from None


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
