"""The config file and the job files: what `worker config check` finds, and whether jobs and scopes fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.doctor.diagnosis import Diagnosis, Level
from worker.errors import JobUnusable
from worker.runner.definitions import definition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.config.check import Report
    from worker.config.model import Config
    from worker.jobs.loading import JobCatalog


def of_report(report: Report) -> Iterator[Diagnosis]:
    """The findings of the config check."""
    for place, what in report.problems:
        yield Diagnosis(f"config {place}", Level.FAULT, what)
    for place, what in report.warnings:
        yield Diagnosis(f"config {place}", Level.NOTE, what)
    if not report.problems:
        yield Diagnosis("config", Level.OK, f"{report.path} has no problems")


def of_jobs(config: Config, catalog: JobCatalog) -> Iterator[Diagnosis]:
    """Job files that cannot be loaded, jobs that name none, and scopes that nobody asks for."""
    for place, what in catalog.faults:
        yield Diagnosis(f"jobs {place}", Level.FAULT, what)
    for job in config.jobs.values():
        subject = f"jobs.{job.name}"
        try:
            definition = definition_of(job, config, catalog)
        except JobUnusable as error:
            if job.uses.rpartition(".")[0] not in catalog.spoilt:
                yield Diagnosis(subject, Level.FAULT, error.message, error.hint)
            continue
        missing = [scope for scope in definition.scopes if scope not in config.integrations[job.integration].scopes]
        if missing:
            yield Diagnosis(
                subject,
                Level.NOTE,
                f"needs {', '.join(missing)}, which integration {job.integration} does not ask for",
                f"add it to integrations.{job.integration}.scopes, then enrol again",
            )
    if config.jobs and not catalog.faults:
        yield Diagnosis("jobs", Level.OK, f"{len(config.jobs)} configured, {len(catalog.jobs)} in the job files")
