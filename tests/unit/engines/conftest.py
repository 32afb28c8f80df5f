"""Jobs as the configuration holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from worker.config.model import JobConfig

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def job_config() -> Callable[..., JobConfig]:
    """Makes a job with the options that matter; without a schedule unless one is named."""

    def make(**options: Any) -> JobConfig:
        settings: dict[str, Any] = {
            "name": "invoices",
            "uses": "billing.invoices",
            "integration": "books",
            "every": None,
            "cron": None,
            "timezone": "UTC",
            "jitter": 0.0,
            "timeout": 3600.0,
            "retries": 3,
            "accounts": None,
            "sink": None,
            "params": {},
            "catch_up": True,
        }
        return JobConfig(**(settings | options))

    return make
