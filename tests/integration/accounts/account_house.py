"""Everything that an account needs, wired by hand around one store: what `worker.wiring` does from a config."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.accounts.access import TokenSource
from worker.accounts.client import Client, ClientSettings
from worker.accounts.enrolment import Choices, Enrolment
from worker.accounts.patience import Patience
from worker.accounts.refresh import Refresher
from worker.accounts.session import AccountSession, SessionSettings
from worker.config.load import load
from worker.events import Events
from worker.jobs.addresses import origin
from worker.redact import Scrubber, Secret
from worker.sandbox import give_consent
from worker.store.records import Consent, NewTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from worker.accounts.enrolment import Attempt, Enrolled
    from worker.accounts.pace import Pace
    from worker.config.model import Integration
    from worker.events import Event
    from worker.sandbox import Sandbox
    from worker.store.records import Account, Grant, Incident
    from worker.store.store import Store
    from worker.testing import ManualClock

REDIRECT = "http://127.0.0.1:8765/callback"
SCOPES = ("openid", "profile", "offline_access", "read", "all_claims")


class House:
    """One integration, `arlo`, its provider and API, and the accounts in one store."""

    def __init__(self, folder: Path, store: Store, clock: ManualClock, sandbox: Sandbox | None, **options: str) -> None:
        self.store = store
        self.clock = clock
        self.sandbox = sandbox
        self.secret = sandbox.client_secret if sandbox is not None else "client-secret"
        self.happened: list[Event] = []
        self.events = Events()
        self.events.subscribe(self.happened.append)
        self.scrubber = Scrubber()
        self.client = self.new_client(_integration(folder, sandbox, options))
        self.clients = {"arlo": self.client}
        self.refresher = self.new_refresher()
        self.enrolment = Enrolment(store, clock, self.events, self.scrubber, Patience(sleep=lambda _seconds: None))

    @property
    def integration(self) -> Integration:
        """Its settings."""
        return self.client.integration

    def new_client(self, integration: Integration) -> Client:
        """A client with these settings."""
        return Client(integration, lambda: Secret(self.secret), ClientSettings(self.clock, "test"))

    def configure(self, **changes: Any) -> None:
        """Other settings of the integration from now on."""
        self.client = self.clients["arlo"] = self.new_client(replace(self.client.integration, **changes))

    def new_refresher(self, **settings: Any) -> Refresher:
        """A refresher of its own: what another process would have."""
        return Refresher(self.store, self.clients, self.clock, self.events, **settings)

    def enrol(self, name: str = "acme", *, user: str = "", scopes: Sequence[str] = SCOPES) -> Account:
        """An account whose owner has consented; the provider's side is made without the consent page."""
        assert self.sandbox is not None
        issued = self.sandbox.grant(user or name, list(scopes))
        lifetime = issued["expires_in"]
        return self.admit(name, issued["access_token"], issued["refresh_token"], lifetime=lifetime, scopes=scopes)

    def admit(
        self,
        name: str = "acme",
        access_token: str = "access-token-1",
        refresh_token: str | None = "refresh-token-1",
        *,
        lifetime: float | None = 3600.0,
        scopes: Sequence[str] = SCOPES,
    ) -> Account:
        """An account with these tokens."""
        tokens = NewTokens(
            access_token=Secret(access_token),
            refresh_token=None if refresh_token is None else Secret(refresh_token),
            token_type="Bearer",
            lifetime=lifetime,
            issued_at=self.clock.now(),
            scopes=tuple(scopes),
        )
        grant = self.store.grants.store_consent(Consent("arlo", name, tokens, tuple(scopes)), self.clock.now())
        return grant.account

    def source(self, account: Account, refresher: Refresher | None = None) -> TokenSource:
        """What hands out the account's token."""
        return TokenSource(account.id, refresher or self.refresher, self.store, self.clock)

    def session(
        self,
        account: Account,
        *,
        source: TokenSource | None = None,
        refresher: Refresher | None = None,
        pace: Pace | None = None,
        **changes: Any,
    ) -> AccountSession:
        """A session as a run gets it."""
        settings = SessionSettings(
            label=account.label,
            api_base=self.integration.api_base,
            origins=frozenset(origin(place) for place in self.integration.api_origins),
            rules=self.client.rejection_rules,
            headers={"User-Agent": "test", **self.integration.headers},
        )
        return AccountSession(source or self.source(account, refresher), replace(settings, **changes), pace)

    def account(self, name: str = "acme") -> Account:
        """The account as it is now."""
        return self.store.accounts.get("arlo", name)

    def grant(self, name: str = "acme") -> Grant:
        """Its grant as it is now."""
        return self.store.grants.read(self.account(name).id)

    def refresh_token(self, name: str = "acme") -> str:
        """Its refresh token as it is now."""
        return self.store.grants.read_refresh_token(self.grant(name)).reveal()

    def refresh(self, account: Account) -> Grant:
        """Refresh whatever generation is stored."""
        return self.refresher.refresh(account.id, self.store.grants.read(account.id).generation)

    @property
    def refresh_calls(self) -> int:
        """What the provider has counted."""
        assert self.sandbox is not None
        return sum(self.sandbox.stats()["token_calls"].get("refresh_token", {}).values())

    def incident(self) -> Incident | None:
        """The open incident of a refused client."""
        return self.store.incidents.find_open("arlo", "client_refused")

    def told(self, kind: type) -> list[Any]:
        """The events of one kind, so far."""
        return [event for event in self.happened if isinstance(event, kind)]

    def begin(self, name: str = "acme") -> Attempt:
        """Begin an enrolment."""
        return self.enrolment.begin(self.client, name, REDIRECT)

    def consent(
        self, name: str = "acme", user: str = "", *, refuse: Sequence[str] = (), choices: Choices | None = None
    ) -> Enrolled:
        """A whole enrolment, the consent page included."""
        attempt = self.begin(name)
        back = give_consent(attempt.url, user or name, refuse=refuse)
        return self.enrolment.finish(attempt, back, choices or Choices())


def _integration(folder: Path, sandbox: Sandbox | None, options: dict[str, str]) -> Integration:
    settings = {"client_id": '"client"', "scopes": str(list(SCOPES)).replace("'", '"')}
    if sandbox is not None:
        settings |= {
            "client_id": f'"{sandbox.client_id}"',
            "authorize_url": f'"{sandbox.authorize_url}"',
            "token_url": f'"{sandbox.token_url}"',
            "revoke_url": f'"{sandbox.revoke_url}"',
            "api_base": f'"{sandbox.api_base}"',
        }
    settings |= options
    lines = [f"{name} = {value}" for name, value in settings.items()]
    path = folder / "config.toml"
    path.write_text("\n".join(["[integrations.arlo]", *lines, ""]))
    return load(path, {}).integrations["arlo"]


def at_once(crew: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call all of them in threads of their own, at the same time; their results, or what they raised."""
    start = threading.Barrier(len(crew))
    results: list[Any] = [None] * len(crew)

    def work(place: int) -> None:
        start.wait()
        try:
            results[place] = crew[place]()
        except Exception as error:  # noqa: BLE001 - the caller looks
            results[place] = error

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(crew))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
