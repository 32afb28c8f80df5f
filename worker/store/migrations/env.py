"""Alembic's entry: runs the migrations on the connection that `worker.store.migrate` hands in."""

from alembic import context
from sqlmodel import SQLModel

from worker.store import tables  # noqa: F401 - fills the metadata that autogenerate compares with

context.configure(connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata)
context.run_migrations()
