"""Jobs without code: collections of a REST API, described in the config, read into any sink.

May import the rest of `worker.jobs`, `worker.errors` and `worker.redact`. Start reading at `resource` (what a
collection is), then `place` (how a cursor moves), then `reading` (the job). `dlt_reading` is the same job on dlt's REST
source, for sinks of dlt; only it needs dlt.
"""
