"""A job's log. The lines say whose run it is by themselves (`worker.log.bound`); what is added here is the stream."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class JobLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose facts are added to those of the call, where `logging`'s own takes their place."""

    @classmethod
    def of(cls, job: str) -> JobLog:
        """The log of one job."""
        return cls(logging.getLogger(f"worker.job.{job}"), {})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """See LoggerAdapter."""
        return msg, {**kwargs, "extra": {**(self.extra or {}), **(kwargs.get("extra") or {})}}

    def of_stream(self, name: str) -> JobLog:
        """The log of one stream of the job."""
        return type(self)(self.logger, {**(self.extra or {}), "stream": name})
