"""What a configured job runs: a function of the job files, or a reading of REST resources that needs no code."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from worker.jobs.decorator import JobDefinition

if TYPE_CHECKING:
    from worker.config.model import Config, JobConfig, ResourceConfig
    from worker.jobs.context import Context
    from worker.jobs.loading import JobCatalog
    from worker.jobs.rest.resource import Resource

#: What `uses` says for a job without code.
REST = "rest"


def definition_of(job: JobConfig, config: Config, catalog: JobCatalog) -> JobDefinition:
    """The job's definition. Raises JobUnusable that says what is wrong with its file."""
    if job.uses != REST:
        return catalog.get(job.uses)
    sink = config.sinks[job.sink].type if job.sink is not None else ""
    scopes = dict.fromkeys(scope for resource in job.resources for scope in resource.scopes)
    names = ", ".join(resource.name for resource in job.resources)
    reading = partial(_read, [_resource(resource) for resource in job.resources], sink == "dlt")
    return JobDefinition(REST, reading, tuple(scopes), f"Reads {names}.")


def _read(resources: list[Resource], by_dlt: bool, ctx: Context) -> None:
    """By dlt's own REST source where the rows go to dlt anyway, else by ours."""
    if by_dlt:
        from worker.jobs.rest.dlt_reading import read_with_dlt  # noqa: PLC0415 - loads dlt

        read_with_dlt(ctx, resources)
        return
    from worker.jobs.rest.reading import read_resources  # noqa: PLC0415 - a job pays for what it uses

    read_resources(ctx, resources)


def _resource(config: ResourceConfig) -> Resource:
    from worker.jobs.paging import STYLES  # noqa: PLC0415 - as above
    from worker.jobs.rest.resource import Increment, Resource  # noqa: PLC0415 - as above

    wanted = config.incremental
    increment = wanted and Increment(
        wanted.field, wanted.param, wanted.initial, wanted.overlap, ascending=wanted.order == "ascending"
    )
    settings: dict[str, Any] = dict(config.paging.settings)
    return Resource(
        name=config.name,
        path=config.path,
        table=config.table,
        params=config.params,
        style=type(STYLES[config.paging.style])(**settings),
        rows=config.rows,
        key=config.primary_key,
        increment=increment or None,
        columns=config.fields,
        parent=config.parent,
        parent_fields=config.parent_fields,
        deletions=config.deletions,
    )
