"""What `worker init` writes, as text. Writing it (and the keyring, with its mode) is the command's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG: Final = """\
# headless-worker. Every option: `worker config example`, or docs/configuration.md.
# Check this file after a change: `worker config check`.
# Paths count from this file. No secret needs to stand here.

[worker]
state_dir = "state"
jobs_path = ["jobs"]
timezone = "UTC"

[store]
url = "sqlite:///state/worker.db"

[keyring]
# Keep a copy of this file somewhere else: without it the store cannot be read by anybody, you included.
file = "worker.key"

# 1. A provider. Take the "# " away and fill in what the provider gave you; then
#    worker secrets set example client_secret
#    worker enroll example ACCOUNT
#
# [integrations.example]
# client_id = "…"
# scopes = ["openid", "offline_access"]
# issuer = "https://auth.example.com"          # or authorize_url and token_url
# api_base = "https://api.example.com/v1/"     # the token is sent nowhere else

# 2. A job: a function in jobs/first.py, run for every account. Try it first:
#    worker jobs run first-contacts --dry-run
#
# [jobs.first-contacts]
# uses = "first.contacts"
# integration = "example"
# every = "15m"                                # or cron = "0 6 * * mon-fri"
# sink = "local"

# 3. Where its rows go.
[sinks.local]
type = "sqlite"
path = "state/data.db"
"""

FIRST_JOB: Final = '''\
"""A first job. A job is a function: it gets a Context, asks an API for rows, and hands them on.

`ctx.emit` and `ctx.checkpoint` save rows and place together, page by page. A job that fails goes on from its last
checkpoint, so nothing is fetched twice and nothing is left out.
"""

from worker import Context, job


@job(scopes=[])
def contacts(ctx: Context) -> None:
    """Copy contacts changed since the last run."""
    since = ctx.cursor.get("changed", ctx.since or "1970-01-01T00:00:00Z")
    for page in ctx.pages("contacts", params={"since": since, "until": ctx.until}):
        ctx.emit("contacts", page.rows, key="id")
        if page.rows:
            ctx.checkpoint(changed=page.last("updated_at"))
'''

#: Path below the new folder -> text.
INITIAL_FILES: Final[Mapping[str, str]] = {"config.toml": CONFIG, "jobs/first.py": FIRST_JOB}

#: The keyring file that `CONFIG` names; the command makes it, mode 0600.
KEYRING_FILE: Final = "worker.key"


def next_steps(folder: str) -> str:
    """What to do after `worker init`, for standard error."""
    return f"""\
Next, in {folder}:
  1. describe your provider in config.toml ([integrations.NAME]), then: worker config check
  2. worker secrets set NAME client_secret
  3. worker enroll NAME ACCOUNT
  4. write your job in jobs/first.py (or begin one with its test: worker jobs new NAME), and try it:
     worker jobs run first-contacts --dry-run
  5. worker run
Keep a copy of {KEYRING_FILE} somewhere else: without it the store cannot be read by anybody, you included.
"""
