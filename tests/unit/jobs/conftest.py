"""Streams, and a clock that stands still."""

from __future__ import annotations

import pytest

from worker.jobs.sinks import Stream
from worker.testing import ManualClock


@pytest.fixture
def stream() -> Stream:
    """One job for one account."""
    return Stream("invoices", "books", "acme")


@pytest.fixture
def clock() -> ManualClock:
    """Stands at 2026-01-01T00:00:00Z."""
    return ManualClock()
