"""Where a secret comes from, and how it is fetched: from a file, the environment, a systemd credential, a command,
or (with a warning) the config file itself. Nothing is read before `read` is called, so showing or checking a
configuration does not need its secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from worker.config.paths import is_file
from worker.config.secret_files import credentials_directory, read_private_file
from worker.errors import Misconfigured
from worker.redact import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SourceKind = Literal["file", "env", "credential", "command", "literal"]


@dataclass(frozen=True)
class SecretSource:
    """One secret's origin. Never holds the secret, except for `literal`, and that as a Secret."""

    kind: SourceKind
    #: The file name, variable name or credential name; for a command its words, joined for messages only.
    value: str
    #: Where in the config file it stands, for messages: `integrations.arlo.client_secret_file`.
    place: str = ""
    argv: tuple[str, ...] = ()
    literal: Secret | None = None

    def path(self, environ: Mapping[str, str], base_dir: Path) -> Path | None:
        """The file behind a `file` or `credential` source, None for the other kinds.

        A relative `file` is searched in $CREDENTIALS_DIRECTORY first, then beside the config file. Raises
        Misconfigured when a credential is asked for outside a service that has any.
        """
        credentials = credentials_directory(environ)
        if self.kind == "credential":
            if credentials is None:
                raise Misconfigured(
                    f"{self.place}: no $CREDENTIALS_DIRECTORY, so there is no credential {self.value!r}",
                    hint="start through systemd, with LoadCredential= in the unit",
                )
            return credentials / self.value
        if self.kind != "file":
            return None
        if credentials is not None and is_file(credentials / self.value):
            return credentials / self.value
        return base_dir / self.value

    def read(self, environ: Mapping[str, str], base_dir: Path) -> Secret:
        """The secret, without the line break at its end. `base_dir` is the config file's folder.

        Raises Misconfigured, naming the place, what was found and what to do; never with the secret in it.
        """
        if self.literal is not None:
            return self.literal
        if self.kind == "env":
            return self._checked(environ.get(self.value, ""), f"the environment variable {self.value} is not set")
        if self.kind == "command":
            from worker.config.commands import run_command  # noqa: PLC0415 - subprocess, needed by few

            text = self._decoded(run_command(self.argv, self.place, environ, base_dir))
            return self._checked(text, f"{self.value} printed nothing")
        path = self.path(environ, base_dir)
        assert path is not None
        text = self._decoded(read_private_file(path, self.place, environ))
        return self._checked(text, f"{path} is empty")

    def _decoded(self, content: bytes) -> str:
        try:
            return content.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise Misconfigured(f"{self.place}: {self.value} is not UTF-8 text") from None

    def _checked(self, text: str, otherwise: str) -> Secret:
        if not text.strip():
            raise Misconfigured(f"{self.place}: {otherwise}")
        return Secret(text)
