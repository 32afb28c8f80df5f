"""A loaded configuration: frozen dataclasses, one per section. All paths are absolute, all lengths of time seconds.

Secrets are not in here, only where they come from; a literal one is held as a Secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.config.secrets import SecretSource


@dataclass(frozen=True)
class WorkerSection:
    """`[worker]`: the process itself."""

    state_dir: Path
    jobs_path: tuple[Path, ...]
    #: IANA name.
    timezone: str
    #: Runs at the same time, in this process.
    concurrency: int
    #: Seconds given to running jobs at shutdown.
    drain_timeout: float
    #: Seconds for which finished runs stay in the history.
    history: float
    log_level: str
    log_format: Literal["auto", "json", "text"]
    #: Sent with every request; empty means the program's name and version.
    user_agent: str


@dataclass(frozen=True)
class StoreSection:
    """`[store]`: where grants, schedules and history are kept."""

    #: SQLAlchemy URL, a SQLite file made absolute; empty when `source` has it. May hold a password.
    url: str = field(repr=False)
    #: Where the URL comes from when it is not in the file.
    source: SecretSource | None
    #: The database file; None when the store is on a server or its URL comes from `source`.
    sqlite_path: Path | None
    #: None: in the state folder.
    witness: Path | None = None

    def read_url(self, environ: Mapping[str, str], base_dir: Path) -> str:
        """The URL, fetched from its source if it has one. Raises Misconfigured."""
        if self.source is None:
            return self.url
        from worker.config.store_url import fetched_url  # noqa: PLC0415 - needed by few

        return fetched_url(self.source, environ, base_dir)


@dataclass(frozen=True)
class KeyringSection:
    """`[keyring]`: where the master keys come from."""

    source: SecretSource
    #: The keyring's file when the source is one, else None. It may not exist yet.
    path: Path | None


@dataclass(frozen=True)
class RateLimit:
    """At most `count` requests in any `seconds`: together (`integration`), for each account, or to each host."""

    count: int
    seconds: float
    per: Literal["integration", "account", "host"]


@dataclass(frozen=True)
class RefreshRule:
    """An answer of the API which means that the token was rejected, although no challenge says so."""

    status: int
    #: Text that one header line (`name: value`) must contain, in any case; empty means any.
    header: str
    #: Text that the body must contain, in any case; empty means any.
    body: str


@dataclass(frozen=True)
class Integration:
    """`[integrations.NAME]`: one OAuth client at one provider. None means: not configured."""

    name: str
    preset: str | None
    platform: str | None
    client_id: str
    scopes: tuple[str, ...]
    issuer: str | None
    authorize_url: str | None
    token_url: str | None
    revoke_url: str | None
    device_url: str | None
    identity_url: str | None
    identity_claim: str
    redirect_uri: str | None
    client_auth: Literal["basic", "post", "none"]
    api_base: str | None
    #: Where the token may go: `https://host[:port]`, lower case.
    api_origins: tuple[str, ...]
    #: Where the token stands in a request to the API; bare unless it is `Authorization`.
    token_header: str
    #: All of them hold at once; empty for none.
    rate_limit: tuple[RateLimit, ...]
    #: With a value, it makes any request one that may be repeated.
    idempotency_header: str
    #: By name, so far `client_secret` only; absent means the encrypted store has it.
    secrets: Mapping[str, SecretSource]
    #: Empty: a space when asking, a space or a comma when reading.
    scope_separator: str
    #: The authorization URL's parameter for them.
    scope_parameter: str
    #: Granted though the answer does not list them, if they were asked for.
    unlisted_scopes: tuple[str, ...]
    authorize_params: Mapping[str, str]
    token_params: Mapping[str, str]
    refresh_sends_redirect_uri: bool
    dead_errors: tuple[str, ...]
    transient_errors: tuple[str, ...]
    client_errors: tuple[str, ...]
    expires_in_unit: Literal["seconds", "milliseconds", "minutes"]
    #: Seconds, for answers that name no lifetime.
    default_expires_in: float | None
    #: Codes of a refresh that extends the old token instead of bringing one.
    extending_codes: tuple[str, ...]
    #: Names leading to the object with the tokens, outermost first; empty finds it by itself.
    token_path: tuple[str, ...]
    #: Our name of a field of the token answer -> the provider's.
    token_names: Mapping[str, str]
    refresh_when: tuple[RefreshRule, ...]
    #: Seconds to reach a host, and to wait for its answer.
    connect_timeout: float
    read_timeout: float
    #: MiB of an API's answer.
    largest_answer: int
    allow_http: bool
    #: Sent with every request to the API.
    headers: Mapping[str, str]
    #: Seconds of failing refreshes after which somebody is told.
    alert_after: float
    #: From how many accounts on, which part of all in percent, refused within how many seconds, refusals are held, and
    #: for how many seconds; see `worker.accounts.fleet`.
    mass_refusal_accounts: int
    mass_refusal_percent: int
    mass_refusal_within: float
    mass_refusal_hold: float


@dataclass(frozen=True)
class Paging:
    """A way to page, and what it is told, as `worker.jobs.paging` names both."""

    style: str
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Increment:
    """How a collection is asked for what has changed."""

    #: Dotted path in a row, and the query parameter it goes back in.
    field: str
    param: str
    #: What the first run asks for; None: everything.
    initial: str | int | None = None
    #: How far each run reaches back: seconds (float) for times, a count (int) for numbers.
    overlap: float = 60.0
    order: Literal["any", "ascending"] = "any"


@dataclass(frozen=True)
class ResourceConfig:
    """`[[jobs.NAME.resources]]`: one collection of a REST API."""

    name: str
    path: str
    params: Mapping[str, object]
    paging: Paging
    #: Dotted path; None: where most APIs have them.
    rows: str | None
    #: Empty: rows are only ever added.
    primary_key: tuple[str, ...]
    incremental: Increment | None
    #: Pairs of column and dotted path; None: every field.
    fields: tuple[tuple[str, str], ...] | None
    table: str
    scopes: tuple[str, ...]
    #: The resource whose rows its path is made from, and the fields taken from them.
    parent: str | None
    parent_fields: tuple[str, ...]
    #: Whether rows that a full listing does not name are gone.
    deletions: bool = False


@dataclass(frozen=True)
class JobConfig:
    """`[jobs.NAME]`: one function on one schedule. With neither `every` nor `cron` it runs by hand only."""

    name: str
    #: `module.function`, or `rest`.
    uses: str
    integration: str
    #: Seconds.
    every: float | None
    cron: str | None
    #: The job's own, else the worker's.
    timezone: str
    #: Seconds over which the accounts of a cron job are spread.
    jitter: float
    #: Seconds.
    timeout: float
    retries: int
    #: None means every account of the integration.
    accounts: tuple[str, ...] | None
    sink: str | None
    #: Handed to the job as `ctx.params`; JSON values.
    params: Mapping[str, object]
    #: Whether a firing that was missed while nothing ran is made up for.
    catch_up: bool
    #: What a job without code reads; empty for every other.
    resources: tuple[ResourceConfig, ...] = ()
    #: Deletions that go without asking: `10%`, a number of rows, `off`.
    delete_brake: str = "10%"
    #: Seconds after which the last success is late, 0: never; None: by the schedule.
    late_after: float | None = None

    def covers(self, integration: str, account: str) -> bool:
        """Whether this account is among those the job runs for."""
        return integration == self.integration and (self.accounts is None or account in self.accounts)


@dataclass(frozen=True)
class SinkConfig:
    """`[sinks.NAME]`: where rows go."""

    name: str
    type: Literal["sqlite", "jsonl", "postgresql", "dlt"]
    #: A file for `sqlite` and for dlt's DuckDB, a folder for `jsonl`; None for the others.
    path: Path | None
    #: Where a server is, and where in it the tables go.
    url: SecretSource | None = None
    schema: str = "public"
    #: When a file of lines is finished: bytes, and seconds after its first row (None: however old).
    rotate_bytes: int = 0
    rotate_every: float | None = None
    #: For `dlt`: where its rows go, in dlt's words, and what it is told.
    destination: str | None = None
    dataset: str | None = None
    credentials: SecretSource | None = None
    settings: Mapping[str, object] | None = field(default=None, hash=False)
    nested: Literal["tables", "json"] = "tables"
    #: What becomes of rows that are gone at the source.
    deletions: Literal["remove", "mark"] = "remove"

    def read_url(self, environ: Mapping[str, str], base_dir: Path) -> str:
        """The server's URL, fetched from its source. Raises Misconfigured."""
        from worker.config.store_url import SERVER_URL, fetched_url  # noqa: PLC0415 - needed by few

        assert self.url is not None
        return fetched_url(self.url, environ, base_dir, SERVER_URL)


@dataclass(frozen=True)
class WebSection:
    """`[web]`: the status page. None means: not configured."""

    listen: str | None
    public_url: str | None


@dataclass(frozen=True)
class NotifyConfig:
    """`[[notify]]`: one way to reach people. Exactly one of `url`, `command` and `webhook` is set."""

    #: The route's own, or derived from where it leads; no two routes have the same.
    name: str
    url: SecretSource | None
    command: tuple[str, ...] | None
    webhook: str | None
    #: Signs what goes to the webhook; None: the store has it.
    secret: SecretSource | None
    sign: bool
    events: tuple[str, ...]
    #: None means all of them.
    integrations: tuple[str, ...] | None
    #: Seconds between reminders; 0: none.
    remind: float
    #: Stands before every subject; empty: nothing does.
    mark: str


@dataclass(frozen=True)
class Config:
    """The whole file."""

    #: The file, absolute.
    path: Path
    worker: WorkerSection
    store: StoreSection
    keyring: KeyringSection
    integrations: Mapping[str, Integration]
    jobs: Mapping[str, JobConfig]
    sinks: Mapping[str, SinkConfig]
    web: WebSection
    notify: tuple[NotifyConfig, ...]
    #: Pairs of place and sentence: what is allowed but doubtful.
    warnings: tuple[tuple[str, str], ...]

    @property
    def base_dir(self) -> Path:
        """The folder that relative names count from."""
        return self.path.parent
