"""headless-worker: the daemon that keeps headless OAuth integrations alive.

For job authors: `from worker import Context, job`. Everything else is reached through the `worker` command.
The layers of the house are listed in docs/architecture.md; a module imports only lower rows.
"""

from worker.jobs.context import Context
from worker.jobs.decorator import job
from worker.jobs.validators import validator

__all__ = ["Context", "job", "validator"]
__version__ = "0.1.0"
