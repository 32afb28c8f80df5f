"""What ends the story early."""

from __future__ import annotations

from worker.errors import WorkerError


class StepFailed(WorkerError):
    """A step of the demo did not happen."""
