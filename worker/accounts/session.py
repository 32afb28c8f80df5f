"""The authenticated session: a `requests.Session` for any library that takes one.

Every hop of every request goes through `_send_hop`: the token is attached if the hop's origin is one of the
integration's own, and the answer decides (RFC 6750, section 3):

    401 rejected, or 403 with a structured signal     refresh once, replay once
    insufficient_scope                                never refresh; ScopeMissing
    rejected again with a fresher token               not the token's fault: the caller gets the answer
    anything else                                     the caller gets the answer

requests re-reads proxies, CA bundle and netrc from the environment with every request, a third of its time. A session
that serves for months reads them once for each origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.hooks import default_hooks, dispatch_hook
from requests.utils import rewind_body
from urllib3.util import Retry

from worker.accounts.pace import NoPace
from worker.errors import BodyNotReplayable, ScopeMissing
from worker.jobs.addresses import origin, resolve
from worker.oauth.rejection import read_rejection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.accounts.access import AccessToken, TokenSource
    from worker.accounts.pace import Pace
    from worker.oauth.rejection import Rejection, RejectionRules

#: Methods that may be sent again after a 429 or 503 (RFC 9110, section 9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
#: What never reached the server is sent again; so is an idempotent request whose connection broke, once.
_RETRIES = Retry(
    total=3, connect=2, read=1, status=0, other=0, redirect=False, backoff_factor=0.2, allowed_methods=IDEMPOTENT
)
_SUCCESS, _REDIRECT = 200, 300
_ASKING = frozenset({401, 403})
#: Bytes of an error body that are searched for a code.
_LARGEST_ERROR_BODY = 1 << 16
_REDIRECT_LIMIT = 10
#: Where a prepared request remembers the credentials that we put on it.
_OURS = "_worker_credentials"


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
    #: Connect and read, seconds; a request's own `timeout` wins, the run's deadline cuts both.
    timeout: tuple[float, float] = (10.0, 60.0)


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
        self.auth = _as_it_is
        for scheme in ("https://", "http://"):
            # Down there only broken connections are mended. Answers are our business.
            self.mount(scheme, HTTPAdapter(pool_maxsize=32, max_retries=_RETRIES))
        #: Requests sent, replays included.
        self.requests_sent = 0

    @property
    def refreshes(self) -> int:
        """New generations of the grant that this session has seen."""
        return self._tokens.refreshes

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; a path without a host is taken below the integration's `api_base`."""
        if isinstance(url, str) and "://" not in url and self._settings.api_base is not None:
            url = resolve(self._settings.api_base, url)
        return super().request(method, url, *args, **kwargs)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a prepared request and follow its redirects, hop by hop."""
        follow = kwargs.pop("allow_redirects", True)
        # A caller that brings credentials of his own wants those. What we put there ourselves, in an earlier sending of
        # the same prepared request, is not his.
        present = request.headers.get("Authorization")
        own_credentials = present is not None and present != getattr(request, _OURS, None)
        # Hooks see the answer the caller gets, not the rejection that a refresh mends.
        hooks, request.hooks = request.hooks, default_hooks()
        try:
            response = self._send_hop(request, own_credentials=own_credentials, **kwargs)
        finally:
            request.hooks = hooks
        response = _hooked(hooks, response, kwargs)
        if not follow or not response.is_redirect:
            return response
        # Each hop comes back here through `send`, with redirects off.
        history = [response, *self.resolve_redirects(response, request, **kwargs)]
        last: requests.Response = history.pop()
        last.history = history
        return last

    def rebuild_auth(
        self,
        prepared_request: requests.PreparedRequest,
        response: requests.Response,  # noqa: ARG002 - the base class's
    ) -> None:
        """Drop the credentials on a redirect; the next hop gets its own if its origin may have them."""
        prepared_request.headers.pop("Authorization", None)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Proxies and CA bundle for a URL, read from the environment once for each origin."""
        if proxies or verify is not None or cert is not None:
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        key = (_host(url), self.verify, self.cert, self.trust_env)
        known = self._environment.get(key)
        if known is None:
            known = self._environment[key] = dict(super().merge_environment_settings(url, {}, None, None, None))
        return known | {"proxies": dict(known["proxies"]), "stream": self.stream if stream is None else stream}

    def _send_hop(
        self, request: requests.PreparedRequest, *, own_credentials: bool, **kwargs: Any
    ) -> requests.Response:
        if own_credentials or origin(request.url or "") not in self._settings.origins:
            return self._send_paced(request, **kwargs)
        token = self._tokens.current()
        response = self._send_with(request, token, **kwargs)
        rejection = self._read(response)
        if rejection is None:
            return response
        self._refuse_scope(rejection)
        fresher = self._tokens.replace(token)
        if fresher is None:
            return response
        again = _replayable(request)
        response.close()
        response = self._send_with(again, fresher, **kwargs)
        second = self._read(response)
        if second is not None:
            self._refuse_scope(second)
            self._tokens.refused(fresher)
        return response

    def _send_with(self, request: requests.PreparedRequest, token: AccessToken, **kwargs: Any) -> requests.Response:
        credentials = f"{_scheme(token)} {token.value.reveal()}"
        request.headers["Authorization"] = credentials
        setattr(request, _OURS, credentials)
        response = self._send_paced(request, **kwargs)
        if _SUCCESS <= response.status_code < _REDIRECT:
            self._tokens.accepted(token)
        return response

    def _send_paced(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        timeout = kwargs.pop("timeout", None)
        attempt = 0
        while True:
            attempt += 1
            left = self._pace.before(request.url or "")
            self.requests_sent += 1
            response = super().send(request, allow_redirects=False, timeout=self._timeout(timeout, left), **kwargs)
            repeatable = request.method in IDEMPOTENT and not _consumed(request)
            if not repeatable or not self._pace.after(response, attempt):
                return response
            response.close()

    def _timeout(self, asked: Any, left: float | None) -> Any:
        timeout = self._settings.timeout if asked is None else asked
        if left is None:
            return timeout
        if isinstance(timeout, tuple):
            return tuple(left if part is None else min(part, left) for part in timeout)
        return min(timeout, left)

    def _read(self, response: requests.Response) -> Rejection | None:
        rules = self._settings.rules.rejected_when
        if response.status_code not in _ASKING and not any(rule.status == response.status_code for rule in rules):
            return None
        fields = getattr(response.raw, "headers", None)
        # requests joins repeated fields into one; urllib3 still has them apart.
        challenges = fields.getlist("WWW-Authenticate") if fields is not None else []
        return read_rejection(
            response.status_code,
            challenges,
            response.headers.get("Content-Type", ""),
            _small_body(response),
            rules=self._settings.rules,
        )

    def _refuse_scope(self, rejection: Rejection) -> None:
        if rejection.kind != "insufficient_scope":
            return
        named = f": {' '.join(rejection.scopes)}" if rejection.scopes else ""
        raise ScopeMissing(
            f"{self._settings.label} lacks a scope that this request needs{named}",
            missing=rejection.scopes,
            hint=f"worker enroll {self._settings.label.replace('/', ' ')}, with the scope added to the integration",
            evidence={"error": rejection.reason, "error_description": rejection.description},
        )


def _hooked(hooks: Any, response: requests.Response, options: dict[str, Any]) -> requests.Response:
    hooked: requests.Response = dispatch_hook("response", hooks, response, **options)  # type: ignore[no-untyped-call]
    return hooked


def _scheme(token: AccessToken) -> str:
    # RFC 6750 spells it so, and there are servers that compare it letter by letter.
    return "Bearer" if token.token_type.lower() == "bearer" else token.token_type


def _host(url: Any) -> str:
    text = url.decode() if isinstance(url, bytes) else str(url)
    return text.partition("?")[0].partition("#")[0].split("/", 3)[2] if "://" in text else text


def _small_body(response: requests.Response) -> bytes:
    """The body as far as it may hold an error code; a long one is left for the caller to read."""
    length = response.headers.get("Content-Length", "")
    loaded = getattr(response, "_content_consumed", False)
    if not loaded and (not length.isdigit() or int(length) > _LARGEST_ERROR_BODY):
        return b""
    return (response.content or b"")[:_LARGEST_ERROR_BODY]


def _consumed(request: requests.PreparedRequest) -> bool:
    """Whether the body is a stream that cannot be sent again."""
    return not (request.body is None or isinstance(request.body, str | bytes))


def _replayable(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The request, ready to be sent again. Raises BodyNotReplayable when its body has been consumed."""
    if _consumed(request):
        if not isinstance(getattr(request, "_body_position", None), int):
            raise BodyNotReplayable(
                hint="send bytes, or a file that can be rewound, instead of a generator; or repeat the request"
            )
        rewind_body(request)
    return request


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
