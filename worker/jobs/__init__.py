"""What a job is: the decorator that marks one, the context it is handed, its cursor, its sinks, its loading.

May import `worker.errors`, `worker.clock` and `worker.redact`; knows nothing of accounts, tokens, schedules or the
database. Start reading at `context` (what a job sees), then `buffer` (how rows and cursor stay together), then
`sinks` (where they go); `rest` is a job that needs no code. Importing this package, `context` or `decorator` loads
neither requests nor sqlite3.
"""
