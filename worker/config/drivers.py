"""What a sink needs that is installed only on demand."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.config.model import SinkConfig

#: Type of sink -> the package it needs; the extra is called as the type.
_PACKAGES = {"dlt": "dlt", "postgresql": "psycopg"}


def missing_driver(sink: SinkConfig, find: Callable[[str], object] = find_spec) -> str | None:
    """What is not installed, with the command that mends it; None when nothing is missing. Imports nothing."""
    package = _PACKAGES.get(sink.type)
    if package is None or find(package) is not None:
        return None
    return f'{package} is not installed; try: pip install "headless-worker[{sink.type}]"'
