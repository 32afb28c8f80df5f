"""One integration's OAuth client, ready to talk: endpoints (configured or discovered), credentials, dialect."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worker.accounts.discovery import discover
from worker.accounts.lone_call import Timeouts, call
from worker.accounts.token_endpoint import NoAnswer, NotSent, ask
from worker.errors import Misconfigured
from worker.oauth.clock_skew import ClockSkew, measure
from worker.oauth.dialect import Dialect
from worker.oauth.rejection import RejectionRule, RejectionRules
from worker.oauth.token_request import Client as OAuthClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from worker.clock import Clock
    from worker.config.model import Integration
    from worker.oauth.metadata import ProviderMetadata
    from worker.oauth.token_request import TokenRequest
    from worker.oauth.verdict import Outcome
    from worker.redact import Secret

_OK = 200


@dataclass(frozen=True)
class ClientSettings:
    """What the process as a whole contributes to every client."""

    clock: Clock
    user_agent: str


class Client:
    """An integration's client. Threads may share it."""

    def __init__(
        self, integration: Integration, read_secret: Callable[[], Secret | None], settings: ClientSettings
    ) -> None:
        self.integration = integration
        self.dialect = _dialect(integration)
        self.rejection_rules = RejectionRules(
            tuple(RejectionRule(rule.status, rule.header, rule.body) for rule in integration.refresh_when)
        )
        self._read_secret = read_secret
        self._settings = settings
        #: The local clock beside the provider's, by its last answer; None before the first.
        self.skew: ClockSkew | None = None
        self._metadata: ProviderMetadata | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The integration's name."""
        return self.integration.name

    def credentials(self) -> OAuthClient:
        """Client id and secret. Raises Misconfigured when a secret is needed and none is set."""
        secret = self._read_secret()
        if secret is None and self.integration.client_auth != "none":
            raise Misconfigured(
                f"integration {self.name} has no client secret",
                hint=f"worker secrets set {self.name} client_secret",
            )
        return OAuthClient(self.integration.client_id, secret, self.integration.client_auth)

    @property
    def user_agent(self) -> str:
        """What we call ourselves."""
        return self._settings.user_agent

    @property
    def timeouts(self) -> Timeouts:
        """Those of a single call."""
        return Timeouts(self.integration.connect_timeout, self.integration.read_timeout)

    def token_url(self) -> str:
        """The token endpoint. Raises Misconfigured when neither config nor discovery names one."""
        return self._endpoint("token_url")

    def authorize_url(self) -> str:
        """The authorization endpoint. Raises Misconfigured when neither config nor discovery names one."""
        return self._endpoint("authorize_url")

    def revoke_url(self) -> str | None:
        """The revocation endpoint (RFC 7009), or None."""
        return self.integration.revoke_url or (self.metadata().revoke_url if self.integration.issuer else None)

    def identity_url(self) -> str | None:
        """Where the access token's owner can be asked for, or None.

        The one that discovery names answers only to tokens with the scope `openid` (OpenID Connect Core 1.0, 5.3).
        """
        if self.integration.identity_url or not self.integration.issuer or "openid" not in self.integration.scopes:
            return self.integration.identity_url
        return self.metadata().identity_url

    def issuer(self) -> str | None:
        """The issuer that authorization answers must come from; None when none is configured."""
        return self.integration.issuer

    def metadata(self) -> ProviderMetadata:
        """The provider's published metadata, fetched once. Raises TryAgainLater or Misconfigured."""
        with self._lock:
            if self._metadata is None:
                assert self.integration.issuer is not None
                self._metadata = discover(self.name, self.integration.issuer, self._fetch)
            return self._metadata

    def now(self) -> float:
        """The wall time by which this client reads answers."""
        return self._settings.clock.now()

    def ask(self, request: TokenRequest) -> Outcome | NotSent | NoAnswer:
        """Send one token request."""
        settings = self._settings

        def hear(response: requests.Response) -> None:
            self._compare_clocks(request.url, response.headers, response.elapsed.total_seconds())

        return ask(request, self.timeouts, self.dialect, settings.clock, settings.user_agent, hear=hear)

    def _compare_clocks(self, url: str, fields: Mapping[str, str], seconds: float) -> None:
        now = self._settings.clock.now()
        found = measure(
            fields, "{0.scheme}://{0.netloc}".format(urlsplit(url)), asked_at=now - seconds, answered_at=now
        )
        self.skew = found or self.skew

    def _endpoint(self, field: str) -> str:
        configured: str | None = getattr(self.integration, field)
        found: str | None = configured
        if found is None and self.integration.issuer is not None:
            found = getattr(self.metadata(), field)
        if found is None:
            raise Misconfigured(
                f"integration {self.name} has no {field}", hint=f"set {field} under [integrations.{self.name}]"
            )
        return found

    def _fetch(self, url: str) -> dict[str, object] | int:
        """A JSON object, or the status of what came instead of one. Raises as `call` does."""
        headers = {"User-Agent": self.user_agent, "Accept": "application/json"}
        answer = call("GET", url, self.timeouts, headers=headers)
        self._compare_clocks(url, answer.headers, answer.seconds)
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            return answer.status
        return document if answer.status == _OK and isinstance(document, dict) else answer.status


def _dialect(integration: Integration) -> Dialect:
    return Dialect(
        dead_errors=integration.dead_errors,
        transient_errors=integration.transient_errors,
        client_errors=integration.client_errors,
        expires_in_unit=integration.expires_in_unit,
        default_expires_in=None if integration.default_expires_in is None else int(integration.default_expires_in),
        extending_codes=integration.extending_codes,
        token_path=".".join(integration.token_path),
        names=integration.token_names,
        scope_separator=integration.scope_separator.strip(),
        unlisted_scopes=tuple(scope for scope in integration.scopes if scope in integration.unlisted_scopes),
    )
