"""`[keyring]`: where the master keys come from that encrypt the store."""

from __future__ import annotations

from worker.config.kinds import COMMAND, text
from worker.config.model import KeyringSection
from worker.config.options import Option, Reading, Section
from worker.config.paths import normal
from worker.config.secrets import SecretSource

_DEFAULT = "worker.key"
_OPTIONS = (
    Option(
        "file",
        text(r"[^~].*", 'a file name ("~" is not expanded)', label="path"),
        "The keyring file, relative to this file; nobody but its owner may read it. Keep a copy elsewhere: without "
        "it the store cannot be read by anybody, you included. A name in $CREDENTIALS_DIRECTORY (systemd) comes first.",
        default=_DEFAULT,
        aliases=("path", "key_file"),
    ),
    Option(
        "env",
        text(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable, without $", label="variable name"),
        "Instead of file: an environment variable that holds the keyring.",
        example="WORKER_KEYRING",
        alternative=True,
    ),
    Option(
        "credential",
        text(r"[^/]+", "the name of a credential, without a folder", label="credential name"),
        "Instead of file: a systemd credential (LoadCredential= or LoadCredentialEncrypted= in the unit).",
        example="keyring",
        alternative=True,
    ),
    Option(
        "command",
        COMMAND,
        "Instead of file: a command that prints the keyring.",
        example="pass show worker/keyring",
        alternative=True,
        aliases=("cmd",),
    ),
)


def _exactly_one(reading: Reading) -> None:
    given = [option.name for option in _OPTIONS if option.name in reading.given]
    for name in given[1:]:
        reading.refuse(name, f'given beside "{given[0]}"; a keyring has one origin: keep one of the two')


def _build(_name: str, reading: Reading) -> KeyringSection:
    kind = next((option.name for option in _OPTIONS if option.name in reading.given), "file")
    value, place = reading[kind], reading.spot.inside(kind).place
    if kind == "command":
        return KeyringSection(SecretSource("command", " ".join(value), place, argv=value), None)
    if kind == "env":
        return KeyringSection(SecretSource("env", value, place), None)
    if kind == "credential":
        return KeyringSection(SecretSource("credential", value, place), None)
    return KeyringSection(SecretSource("file", value, place), normal(reading.spot.base / value))


KEYRING = Section(
    "keyring",
    "table",
    "The master keys that encrypt the store. Exactly one of these options.",
    _OPTIONS,
    _build,
    rules=(_exactly_one,),
)
