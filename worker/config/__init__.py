"""The config file: one declarative schema, from which everything else follows.

`schema.py` lists the sections; each section (in `sections/`) lists its options with type, default, description and
example. `load.py` reads a file against the schema and reports all faults at once; `check.py` adds what needs the
disk; `example.py` and `reference.py` generate the example file and its documentation; `describe.py` shows a loaded
configuration without its secrets; `initial.py` is what `worker init` writes. Loaded values are the frozen dataclasses
of `model.py`.

May import: `worker.errors`, `worker.redact`, and the standard library. APScheduler is imported only inside
`cron.cron_trigger`. Start reading at `options.py`, then `load.py`.
"""
