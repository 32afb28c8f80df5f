"""What things may be called. Names stand in file names, log lines, URLs and commands, hence the narrow alphabet."""

from __future__ import annotations

import re

from worker.config.kinds import text
from worker.errors import UsageFault

#: Jobs, integrations and sinks.
NAME = text(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    "a name of letters, digits, dots, dashes and underscores, 64 at most, that begins with a letter or digit",
    label="name",
)

#: Accounts, which may look like an e-mail address.
_ACCOUNT_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}"
_ACCOUNT_RULE = "an account's name: letters, digits and . _ @ + -, 128 at most, beginning with a letter or digit"
ACCOUNT_NAME = text(
    _ACCOUNT_PATTERN,
    _ACCOUNT_RULE,
    label="account name",
)


def check_account_name(name: str) -> None:
    """Raise UsageFault for what cannot be an account's name on the command line."""
    if not re.fullmatch(_ACCOUNT_PATTERN, name):
        raise UsageFault(f"{name!r} is not {_ACCOUNT_RULE}")
