"""What things may be called. Names stand in file names, log lines, URLs and commands, hence the narrow alphabet."""

from __future__ import annotations

from worker.config.kinds import text

#: Jobs, integrations and sinks.
NAME = text(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    "a name of letters, digits, dots, dashes and underscores, 64 at most, that begins with a letter or digit",
    label="name",
)

#: Accounts, which may look like an e-mail address.
ACCOUNT_NAME = text(
    r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}",
    "an account's name: letters, digits and . _ @ + -, 128 at most, beginning with a letter or digit",
    label="account name",
)
