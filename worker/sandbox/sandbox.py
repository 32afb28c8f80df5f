"""The sandbox as one object: start it, use its addresses, pull its handles, stop it."""

from __future__ import annotations

import secrets
import time
import traceback
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from worker.sandbox.authorize import answer, ask
from worker.sandbox.canned import ELSEWHERE
from worker.sandbox.control import PREFIX as CONTROL
from worker.sandbox.control import control, perform
from worker.sandbox.control_methods import ControlMethods
from worker.sandbox.identity import metadata, userinfo
from worker.sandbox.listener import Listener
from worker.sandbox.messages import Response, json_response
from worker.sandbox.resources import PREFIX as API
from worker.sandbox.resources import api
from worker.sandbox.settings import SandboxConfig
from worker.sandbox.state import State
from worker.sandbox.token_endpoint import revocation, token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from worker.sandbox.messages import Request


class Sandbox(ControlMethods):
    """A local provider and API. Also a context manager. `clock` gives seconds since 1970.

    The port is bound when the object is made, so that its addresses are known before `start`.
    """

    def __init__(self, config: SandboxConfig | None = None, *, clock: Callable[[], float] = time.time) -> None:
        config = config or SandboxConfig()
        self.config = config if config.control_token else replace(config, control_token=secrets.token_urlsafe(24))
        self._state = State(self.config, clock)
        self._listener = Listener(config.port, self._handle, lambda: self._state.now() + self._state.settings.date_skew)
        self._state.port = self._listener.port
        self._state.stopping = self._listener.stopping

    def start(self) -> Self:
        """Begin to serve; answers itself."""
        self._listener.start()
        return self

    def stop(self) -> None:
        """Close every connection and end every thread; may be called twice."""
        self._listener.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Origin, without a slash at the end."""
        return self._state.base_url

    @property
    def issuer(self) -> str:
        """Issuer identifier; discovery works from it."""
        return self._state.issuer

    @property
    def authorize_url(self) -> str:
        """Authorization endpoint."""
        return f"{self.issuer}/connect/authorize"

    @property
    def token_url(self) -> str:
        """Token endpoint."""
        return f"{self.issuer}/connect/token"

    @property
    def revoke_url(self) -> str:
        """Revocation endpoint (RFC 7009)."""
        return f"{self.issuer}/connect/revocation"

    @property
    def identity_url(self) -> str:
        """Userinfo endpoint."""
        return f"{self.issuer}/connect/userinfo"

    @property
    def api_base(self) -> str:
        """Root of the API's resources, with a slash at the end."""
        return self._state.api_base

    @property
    def client_id(self) -> str:
        """Id of the registered client."""
        return self.config.client_id

    @property
    def client_secret(self) -> str:
        """Its secret, as it is now."""
        return self._state.settings.client_secret

    @property
    def control_token(self) -> str:
        """What the control endpoints demand as a bearer token."""
        return self.config.control_token

    def addresses(self) -> dict[str, str]:
        """What another process needs to use and to control this sandbox: the content of the READY line."""
        return {
            "base_url": self.base_url,
            "control_token": self.control_token,
            "issuer": self.issuer,
            "authorize_url": self.authorize_url,
            "token_url": self.token_url,
            "revoke_url": self.revoke_url,
            "identity_url": self.identity_url,
            "api_base": self.api_base,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }

    def call(self, operation: str, **arguments: object) -> dict[str, Any]:
        """Carry out one control operation in this process."""
        return perform(self._state, operation, arguments)

    def _handle(self, request: Request) -> Response:
        try:
            return _route(request)(request, self._state)
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not look like one of the provider's
            return json_response({"error": f"sandbox fault: {fault!r}", "trace": traceback.format_exc()}, 500)


def _route(request: Request) -> Callable[[Request, State], Response]:
    """The function that answers a request."""
    if request.path.startswith(API):
        return api
    if request.path.startswith(CONTROL):
        return control
    if request.path.startswith(ELSEWHERE):
        return _elsewhere
    methods = ROUTES.get(request.path.rstrip("/") or "/")
    if methods is None:
        return lambda _request, _state: json_response({"error": "not found"}, HTTPStatus.NOT_FOUND)
    if request.method not in methods:
        allow = ("Allow", ", ".join(methods))
        return lambda _request, _state: json_response({"error": "method not allowed"}, 405, allow)
    return methods[request.method]


def _elsewhere(request: Request, state: State) -> Response:
    """Where the fault `redirect` leads: another origin, that counts what was brought to it."""
    with state.lock:
        state.tally.elsewhere["requests"] += 1
        state.tally.elsewhere["with_authorization"] += "authorization" in request.headers
        state.tally.elsewhere["with_body"] += bool(request.body)
    return json_response({"access_token": "from-elsewhere", "token_type": "Bearer", "expires_in": 3600})


def _discovery(_request: Request, state: State) -> Response:
    return metadata(state)


def _keys(_request: Request, _state: State) -> Response:
    return json_response({"keys": []})  # ID tokens are signed with the client secret


ROUTES: Mapping[str, Mapping[str, Callable[[Request, State], Response]]] = {
    "/oauth/connect/authorize": {"GET": ask, "POST": answer},
    "/oauth/connect/token": {"POST": token},
    "/oauth/connect/revocation": {"POST": revocation},
    "/oauth/connect/userinfo": {"GET": userinfo, "POST": userinfo},
    "/oauth/.well-known/openid-configuration": {"GET": _discovery, "HEAD": _discovery},
    "/.well-known/oauth-authorization-server/oauth": {"GET": _discovery, "HEAD": _discovery},
    "/oauth/.well-known/jwks": {"GET": _keys},
}
