"""Imports everything that a trial could ask for, before the first fork: a child then starts in a few milliseconds."""

from __future__ import annotations

import importlib
import pkgutil

import worker

#: What the product imports only when it is needed.
_LATE = (
    "alembic.command",
    "alembic.config",
    "alembic.runtime.environment",
    "apscheduler.executors.debug",
    "apscheduler.schedulers.background",
    "encodings.idna",
    "sqlalchemy.dialects.sqlite.pysqlite",
)
#: Modules that do something when they are imported, or that few trials need.
_LEFT_OUT = (
    "worker.__main__",
    "worker.cli",
    "worker.doctor",
    "worker.notify.",
    "worker.sandbox.__main__",
    "worker.store.migrations",
    "worker.web",
)


def preload() -> None:
    """Import it all. Opens nothing."""
    for name in _LATE:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(worker.__path__, "worker."):
        if not module.name.startswith(_LEFT_OUT):
            importlib.import_module(module.name)
    importlib.import_module("sqlalchemy.orm").configure_mappers()
