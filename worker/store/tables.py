"""The tables. A schema change is a new migration in `migrations/versions`, never an edit of an old one.

Times are seconds since the epoch (UTC) as floats. Columns named `sealed_…` hold ciphertext bound to their row, field
and generation (`worker.crypto.sealing`). Nothing secret stands in any other column.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, UniqueConstraint, false
from sqlmodel import Field, SQLModel


def _owner(*, primary_key: bool = False) -> Any:
    """A reference to an account; its rows go with it."""
    reference = ForeignKey("account.id", ondelete="CASCADE")
    return Field(sa_column=Column(Integer, reference, primary_key=primary_key, nullable=False))


def _json() -> Any:
    return Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


def _sealed() -> Any:
    return Field(default=None, sa_column=Column(LargeBinary, nullable=True))


class AccountRow(SQLModel, table=True):
    """One enrolled resource owner of an integration."""

    __tablename__: ClassVar[str] = "account"
    __table_args__ = (UniqueConstraint("integration", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    #: Random, never used again: what sealed values are bound to. A removed and re-created account cannot open them.
    uid: str = Field(unique=True)
    integration: str
    name: str
    state: str = Field(index=True)
    #: Where a pause returns to.
    state_before_pause: str | None = None
    #: Why the state is what it is: a word for programs and a sentence for people.
    cause: str = ""
    reason: str = ""
    state_since: float
    created_at: float


class GrantRow(SQLModel, table=True):
    """What the account consented to, and the access token that came of it last."""

    __tablename__: ClassVar[str] = "grant_"  # GRANT is a reserved word
    account_id: int = _owner(primary_key=True)
    #: +1 with every change of tokens; every write compares it first.
    generation: int
    sealed_refresh_token: bytes | None = _sealed()
    sealed_access_token: bytes | None = _sealed()
    sealed_identity: bytes | None = _sealed()
    token_type: str = "Bearer"  # noqa: S105 - a scheme name, no password
    scopes: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    requested_scopes: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    #: When the access token was asked for, and its lifetime in seconds; no lifetime: the provider named none.
    issued_at: float
    lifetime: float | None = None
    #: When a human consented, as which generation, and when a refresh last succeeded.
    consented_at: float
    consent_generation: int
    refreshed_at: float | None = None
    #: The API refused the access token of this generation although it was fresh: no refresh will mend that.
    refused_generation: int | None = None
    #: … and took it elsewhere since: so it is alive, and the refusal is about something else.
    refused_alive: bool = False
    #: Failed refreshes in a row, since when, and before which moment no other may start.
    failures: int = 0
    failing_since: float | None = None
    not_before: float | None = None
    #: An answer came, but it may hide a rotation (a 502 from a proxy, an unreadable 200): what it was.
    doubt: str = ""
    #: The generation with which the refresh token itself was last replaced; None: not known, since a time before this
    #: was written down.
    refresh_token_generation: int | None = None
    #: A restored backup brought this refresh token back after it had been replaced: it is never sent again.
    refresh_token_spent: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    #: A refusal that is not acted on yet, because many accounts of the integration lost their grant at the same time.
    held: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))
    #: Since when. Without `held`: it was held and decided, so the next refusal is this account's own.
    held_since: float | None = None
    #: When somebody was last told that refreshes have been failing for long.
    alerted_at: float | None = None


class RefreshIntentRow(SQLModel, table=True):
    """A refresh that was begun; gone when its outcome is stored. Found without its process, the outcome is unknown."""

    __tablename__: ClassVar[str] = "refresh_intent"
    account_id: int = _owner(primary_key=True)
    generation: int
    started_at: float
    #: How often the refresh token of this generation was sent without an answer.
    attempts: int = 0
    #: When the latest attempt began; None: it is over, without an answer.
    attempted_at: float | None = None
    holder: str
    note: str = ""


class TimelineRow(SQLModel, table=True):
    """What happened to an account, oldest first: the source of `worker accounts why`."""

    __tablename__: ClassVar[str] = "timeline"
    __table_args__ = (Index("timeline_account", "account_id", "id"),)

    id: int | None = Field(default=None, primary_key=True)
    account_id: int = _owner()
    at: float
    kind: str
    state_before: str | None = None
    state_after: str | None = None
    cause: str = ""
    message: str = ""
    evidence: dict[str, Any] = _json()
    generation: int | None = None
    run_id: str | None = None


class IncidentRow(SQLModel, table=True):
    """A fault of the integration, not of one account. At most one open of each kind."""

    __tablename__: ClassVar[str] = "incident"
    __table_args__ = (Index("incident_open", "integration", "kind", "closed_at"),)

    id: int | None = Field(default=None, primary_key=True)
    integration: str
    kind: str
    opened_at: float
    last_at: float
    closed_at: float | None = None
    occurrences: int = 1
    cause: str
    remedy: str = ""
    evidence: dict[str, Any] = _json()
    #: While the client itself is refused, no account's refresh may start before this moment.
    not_before: float | None = None


class ClientSecretRow(SQLModel, table=True):
    """A credential of an integration, set with `worker secrets set`."""

    __tablename__: ClassVar[str] = "client_secret"
    integration: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    sealed_value: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    generation: int = 1
    updated_at: float


class KeyCheckRow(SQLModel, table=True):
    """A known value sealed with each key that was ever used here: a wrong key is found at the start, not at 3 am."""

    __tablename__: ClassVar[str] = "key_check"
    key_id: str = Field(primary_key=True)
    sealed_check: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: float
    #: When a rotation found that it seals nothing any more: backups from before then still need it.
    unused_since: float | None = None


class LineageRow(SQLModel, table=True):
    """Which of its own states this database is: one row, compared with the witness when the store is opened."""

    __tablename__: ClassVar[str] = "lineage"
    id: int = Field(default=1, primary_key=True)
    #: Random, new with every change that the witness knows of; the witness's last mark is the same one, or this
    #: database is not what it was.
    mark: str = ""
    #: Only in a backup, and in a restored one until it is compared: when it was made.
    backed_up_at: float | None = None


class ScheduleRow(SQLModel, table=True):
    """What is due when: one row for each job and account. The record; the engine is only the doorbell."""

    __tablename__: ClassVar[str] = "schedule"
    job: str = Field(primary_key=True)
    account_id: int = _owner(primary_key=True)
    #: None: not scheduled any more (the job left the config), kept for its history.
    next_due: float | None = Field(default=None, sa_column=Column(Float, index=True, nullable=True))
    #: A run is under way (as far as its process lives: the run lock tells).
    running: bool = False
    #: Runs that a crash or shutdown interrupted start before everything else.
    first: bool = False
    #: Why the next run starts: first, schedule, catch_up, interrupted, retry.
    trigger: str = "first"
    #: The oldest firing that was not run because the account was flagged.
    missed_since: float | None = None
    #: The run under way or waiting for its retry, and the attempts made of it.
    attempts: int = 0
    run_id: str | None = None
    #: +1 with every claim; results carry it, and a lower one is refused.
    fence: int = 0
    last_started: float | None = None
    last_success: float | None = None
    #: How many runs in a row took their process with them.
    crashes: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    #: How many runs in a row failed, and since when; for people.
    failures: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    failing_since: float | None = None
    #: Not before that moment, whatever the schedule says: the other side asked for it (Retry-After), or it crashed.
    not_before: float | None = None
    #: Rows of the last runs that succeeded, the newest last.
    recent_rows: list[int] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))
    #: Since when a success is expected, how many seconds after the last one it is overdue, and since when it is.
    expected_since: float | None = None
    late_after: float | None = None
    late_since: float | None = None
    #: Why this job does not run for this account (a missing scope), and which scopes.
    parked: str = ""
    parked_scopes: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))


class RunRow(SQLModel, table=True):
    """One execution of one job for one account."""

    __tablename__: ClassVar[str] = "run"
    __table_args__ = (Index("run_job_account", "job", "account_id", "id"), Index("run_state", "state"))

    #: Sorts by time of creation.
    id: str = Field(primary_key=True)
    job: str
    account_id: int = _owner()
    state: str
    trigger: str
    fence: int
    attempt: int = 1
    due_at: float | None = None
    created_at: float
    started_at: float | None = None
    finished_at: float | None = Field(default=None, sa_column=Column(Float, index=True, nullable=True))
    rows: int = 0
    requests: int = 0
    refreshes: int = 0
    error: str | None = None
    #: Who ran it: host and process.
    holder: str = ""
    #: Rows that complete listings took away, and those that are held.
    deleted: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    held: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    #: What is unusual about it, for people.
    note: str | None = None
    #: How the shape of its rows differs from before, one sentence each.
    drift: list[str] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))


class TableProfileRow(SQLModel, table=True):
    """What a job's rows for one table of one account look like, and how many of them listings take away."""

    __tablename__: ClassVar[str] = "table_profile"
    job: str = Field(primary_key=True)
    account_id: int = _owner(primary_key=True)
    table_name: str = Field(primary_key=True)
    #: Name -> `kinds` (of the values it has held), `gone` (a whole run came without it).
    columns: dict[str, Any] = _json()
    #: How many rows each of the last listings took away, the newest last.
    swept: list[int] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    updated_at: float


class HeldChangeRow(SQLModel, table=True):
    """Deletions that somebody has to approve. The keys themselves are in the sink, under `uid`."""

    __tablename__: ClassVar[str] = "held_change"
    __table_args__ = (Index("held_change_state", "state", "job", "account_id", "table_name"),)

    id: int | None = Field(default=None, primary_key=True)
    uid: str = Field(unique=True)
    job: str
    account_id: int = _owner()
    table_name: str
    #: held, approved, rejected, superseded.
    state: str
    #: Rows that the listing does not name, that are there, and that it names.
    gone: int
    present: int
    seen: int
    sample: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    reason: str
    run_id: str
    held_at: float
    decided_at: float | None = None
    decided_by: str = ""
    #: Rows that were taken away in the end.
    applied: int | None = None


class NotificationRow(SQLModel, table=True):
    """Something that people have to be told; written with what it tells of (an outbox), gone some time after."""

    __tablename__: ClassVar[str] = "notification"
    __table_args__ = (Index("notification_account", "integration", "account", "event"),)

    id: int | None = Field(default=None, primary_key=True)
    #: Random: what a receiver knows a repeated one by.
    uid: str = Field(unique=True)
    created_at: float = Field(sa_column=Column(Float, index=True, nullable=False))
    #: As in `[[notify]] events`: needs_consent, incident, recovered …
    event: str
    integration: str
    account: str | None = None
    #: The only route that it is for; None: all of them.
    route: str | None = None
    #: What is told: words and facts, no secret.
    facts: dict[str, Any] = _json()


class DeliveryRow(SQLModel, table=True):
    """What became of a notification on one route; no row: not tried yet."""

    __tablename__: ClassVar[str] = "delivery"
    notification_id: int = Field(
        sa_column=Column(Integer, ForeignKey("notification.id", ondelete="CASCADE"), primary_key=True, nullable=False)
    )
    route: str = Field(primary_key=True)
    delivered_at: float | None = None
    #: It is too old to be tried any more.
    given_up_at: float | None = None
    attempts: int = 0
    next_at: float | None = None
    last_error: str = ""
