"""The authenticated session: a `requests.Session` for any library that takes one.

Every hop of every request goes through `_send_hop`: the token is attached if the hop's origin is one of the
integration's own, and the answer decides (RFC 6750, section 3):

    401 rejected, or 403 with a structured signal     refresh once, replay once
    insufficient_scope                                never refresh; ScopeMissing
    rejected again with a fresher token               not the token's fault: the caller gets the answer
    anything else                                     the caller gets the answer

requests re-reads proxies, CA bundle and netrc from the environment with every request, a third of its time. A session
reads them once for each host.
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import HTTPBasicAuth
from requests.cookies import extract_cookies_to_jar
from requests.hooks import default_hooks, dispatch_hook
from requests.utils import get_auth_from_url

from worker.accounts.answer import read_answer
from worker.accounts.bounded import UnreadableError, load
from worker.accounts.carrier import Carrier, is_repeatable, replayable
from worker.accounts.cookies import few_cookies
from worker.accounts.pace import NoPace
from worker.errors import Misconfigured, ScopeMissing, WorkerError
from worker.jobs.addresses import origin, plain, resolve
from worker.oauth.bearer import STANDARD_FIELD, field_value
from worker.store.records import SCOPE_MISSING, consent_remedy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.accounts.access import AccessToken, TokenSource
    from worker.accounts.pace import Pace
    from worker.oauth.rejection import Rejection, RejectionRules

_SUCCESS, _REDIRECT = 200, 300
_REDIRECT_LIMIT = 10
#: Bytes: a page of rows has a few million. JSON takes up to twenty times its length in memory.
LARGEST_ANSWER = 32 << 20
#: Headers of the integration that say nothing but how we like our answers.
_EVERYWHERE = frozenset({"user-agent", "accept", "accept-language", "accept-encoding"})
#: Seconds: urllib3 refuses a timeout of nothing.
_SHORTEST_TIMEOUT = 0.001
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.\-]*:", re.IGNORECASE)


class _OurToken(str):
    """A header's value that the session has set, and not its caller: not kept when a request is sent again."""

    __slots__ = ()


@dataclass(frozen=True)
class SessionSettings:
    """How an account's session behaves."""

    #: Names the account in errors: `arlo/acme`.
    label: str
    api_base: str | None
    #: Where the token may go, as `origin()` spells them.
    origins: frozenset[str]
    rules: RejectionRules
    headers: Mapping[str, str]
    #: Where the token stands; bare unless it is the standard field.
    token_header: str = STANDARD_FIELD
    #: Connect and read, seconds; a request's own `timeout` wins, the run's deadline cuts both.
    timeout: tuple[float, float] = (10.0, 60.0)
    #: Bytes of an answer, unpacked, unless its caller streams it.
    largest_answer: int = LARGEST_ANSWER
    #: With a value, it makes a request one that may be repeated, whatever its method.
    idempotency_header: str = "Idempotency-Key"
    #: Told every answer that the caller gets, hop by hop.
    hear: Callable[[requests.Response], None] | None = None


class AccountSession(requests.Session):
    """A session that speaks for one account. Threads may share it as far as `requests` lets them."""

    def __init__(self, tokens: TokenSource, settings: SessionSettings, pace: Pace | None = None) -> None:
        super().__init__()
        self._tokens = tokens
        self._settings = settings
        self._pace: Pace = pace or NoPace()
        self._environment: dict[tuple[object, ...], dict[str, Any]] = {}
        self.headers.update(settings.headers)
        self.max_redirects = _REDIRECT_LIMIT
        # Keeps requests from asking netrc for credentials; the token is attached hop by hop, below.
        self.auth = _from_address
        self.cookies = few_cookies()
        carrier = Carrier(self._pace.check)
        for scheme in ("https://", "http://"):
            self.mount(scheme, carrier)
        #: Requests sent, replays and repetitions included.
        self.requests_sent = 0
        #: Those of them that were sent again after a pause, by the leave of the pace.
        self.requests_repeated = 0

    @property
    def refreshes(self) -> int:
        """New generations of the grant that this session has seen."""
        return self._tokens.refreshes

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; a path without a host is taken below the integration's `api_base`."""
        if isinstance(url, str) and not _ABSOLUTE.match(url) and self._settings.api_base is not None:
            url = resolve(self._settings.api_base, url)
        return super().request(method, url, *args, **kwargs)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a prepared request and follow its redirects, hop by hop."""
        follow = kwargs.pop("allow_redirects", True)
        kwargs.setdefault("stream", self.stream)
        kwargs.setdefault("verify", self.verify)
        kwargs.setdefault("cert", self.cert)
        if "proxies" not in kwargs:
            kwargs["proxies"] = self.merge_environment_settings(request.url, {}, None, None, None)["proxies"]
        response = self._send_hop(request, **kwargs)
        if not follow or not response.is_redirect:
            return response
        # Each hop comes back here through `send`, with redirects off.
        history = [response, *self.resolve_redirects(response, request, **kwargs)]
        last: requests.Response = history.pop()
        last.history = history
        return last

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Drop the credentials on a redirect; the next hop gets a token if its origin may have one.

        The caller's own stay where requests would keep them: at the same host.
        """
        self._forget_token(prepared_request)
        before, after = response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            for field in (STANDARD_FIELD, self._settings.token_header):
                prepared_request.headers.pop(field, None)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Proxies and CA bundle for a URL, read from the environment once for each host."""
        if proxies or verify is not None or cert is not None:
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        key = (_host(url), self.verify, self.cert, self.trust_env, *self.proxies.items())
        known = self._environment.get(key)
        if known is None:
            known = self._environment[key] = dict(super().merge_environment_settings(url, {}, None, None, None))
        return known | {"proxies": dict(known["proxies"]), "stream": self.stream if stream is None else stream}

    def _send_hop(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """One hop, hooks last: one that raises for a 401 must not come between the rejection and the refresh."""
        hooks = request.hooks
        if not any(hooks.values()):
            return self._heard(request, **kwargs)
        bare = copy(request)
        bare.hooks = default_hooks()
        response = self._heard(bare, **kwargs)
        response.request = request
        hooked: requests.Response = dispatch_hook("response", hooks, response, **kwargs)  # type: ignore[no-untyped-call]
        if hooked is not response:
            # The hook has sent more (as Digest authentication does): those cookies count as well.
            for one in (*hooked.history, hooked):
                extract_cookies_to_jar(self.cookies, one.request, one.raw)  # type: ignore[no-untyped-call]
        return hooked

    def _heard(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        response = self._answered(request, **kwargs)
        if self._settings.hear is not None:
            self._settings.hear(response)
        return response

    def _answered(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        self._forget_token(request)
        own = origin(request.url or "") in self._settings.origins
        self._place_headers(request, own=own)
        # A caller that brings credentials of his own wants those.
        if not own or STANDARD_FIELD in request.headers or self._settings.token_header in request.headers:
            return self._send_paced(request, **kwargs)
        self._pace.check()
        token, sent_at = self._tokens.current(), self._tokens.now()
        response = self._send_with(request, token, **kwargs)
        if self._read(response, token) is None:
            return response
        try:
            self._pace.check()
            fresher = self._tokens.replace(token)
            again = request if fresher is None else replayable(request)
        except BaseException:
            response.close()
            raise
        if fresher is None:
            return response
        response.close()
        response = self._send_with(again, fresher, **kwargs)
        if self._read(response, fresher) is not None:
            self._tokens.refused(fresher, sent_at)
        return response

    def _forget_token(self, request: requests.PreparedRequest) -> None:
        """A request that is sent again, or to somewhere else, gets its token anew or none."""
        if isinstance(request.headers.get(self._settings.token_header), _OurToken):
            del request.headers[self._settings.token_header]

    def _place_headers(self, request: requests.PreparedRequest, *, own: bool) -> None:
        """The integration's headers may hold a key: they go where the token may go, and nowhere else."""
        for name, value in self._settings.headers.items():
            if name.lower() in _EVERYWHERE:
                continue
            if own:
                request.headers.setdefault(name, value)
            elif request.headers.get(name) == value:
                del request.headers[name]

    def _send_with(self, request: requests.PreparedRequest, token: AccessToken, **kwargs: Any) -> requests.Response:
        self._refuse_unknown(token)
        field = self._settings.token_header
        request.headers[field] = _OurToken(field_value(field, token.value.reveal()))
        return self._send_paced(request, **kwargs)

    def _refuse_unknown(self, token: AccessToken) -> None:
        """A token of a type that we do not understand is not used (RFC 6749 section 7.1)."""
        if token.token_type.lower() != "bearer":
            raise Misconfigured(
                f"{self._settings.label}: the provider issues tokens of type {token.token_type[:40]!a}, "
                "and only bearer tokens can be sent",
                hint="ask the provider for bearer tokens; token_params may have to say so",
            )

    def _send_paced(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        attempt = 0
        while True:
            attempt += 1
            try:
                response = self._send_once(request, **kwargs)
            except requests.RequestException as error:
                if not self._may_repeat(request, error, attempt):
                    raise
            else:
                self._pace.heard(response)
                if not self._may_repeat(request, response, attempt):
                    return response
                response.close()
            self.requests_repeated += 1

    def _may_repeat(
        self, request: requests.PreparedRequest, outcome: requests.Response | requests.RequestException, attempt: int
    ) -> bool:
        return is_repeatable(request, self._settings.idempotency_header) and self._pace.again(outcome, attempt)

    def _send_once(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        left = self._pace.before(request.url or "")
        timeout = self._timeout(kwargs.pop("timeout", None), left)
        self.requests_sent += 1
        response = super().send(request, allow_redirects=False, timeout=timeout, **{**kwargs, "stream": True})
        if not kwargs.get("stream") or response.is_redirect:
            self._load(response)
        return response

    def _load(self, response: requests.Response) -> None:
        """Read the body, as `requests` does where nobody streams."""
        try:
            load(response, self._settings.largest_answer)
        except UnreadableError as error:
            raise WorkerError(
                f"{response.request.method} {plain(response.url)}: {error}",
                hint="ask for less at once, or stream it; or set largest_answer under [integrations.NAME]",
                evidence={"status": response.status_code},
            ) from None

    def _timeout(self, asked: Any, left: float | None) -> Any:
        timeout = self._settings.timeout if asked is None else asked
        if left is None:
            return timeout
        left = max(left, _SHORTEST_TIMEOUT)
        if isinstance(timeout, tuple):
            return tuple(left if part is None else min(part, left) for part in timeout)
        return min(timeout, left) if isinstance(timeout, int | float) else timeout

    def _read(self, response: requests.Response, token: AccessToken) -> Rejection | None:
        """What the answer says about the token. Raises ScopeMissing when it lacks a scope."""
        rejection = read_answer(response, self._settings.rules)
        if rejection is None and _SUCCESS <= response.status_code < _REDIRECT:
            self._tokens.accepted(token)
        if rejection is None or rejection.kind != "insufficient_scope":
            return rejection
        response.close()
        named = f": {' '.join(rejection.scopes)}" if rejection.scopes else ""
        integration, _, account = self._settings.label.partition("/")
        raise ScopeMissing(
            f"{self._settings.label} lacks a scope that this request needs{named}",
            missing=rejection.scopes,
            hint=consent_remedy(integration, account, SCOPE_MISSING, rejection.scopes),
            evidence={"error": rejection.reason, "error_description": rejection.description},
        )


def _host(url: Any) -> str:
    text = (url.decode() if isinstance(url, bytes) else str(url)).partition("?")[0].partition("#")[0]
    return text.split("/", 3)[2] if "://" in text else text


def _from_address(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Credentials that stand in the address are the caller's own; there are no others to look for."""
    if "@" not in (request.url or ""):
        return request
    user, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(user, password)(request) if user or password else request
