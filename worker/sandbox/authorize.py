"""`connect/authorize`: the question to the person, and the way back with a code or a refusal (RFC 6749 section 4.1).

A wrong client id or redirect URI ends on a page here; everything else goes back to the client as an error. The page
is bound to the request by a one-time id, so posting the form twice, or without having seen it, does nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from worker.sandbox.consent_page import Question, consent_page, error_page
from worker.sandbox.identity import SCOPES
from worker.sandbox.messages import DuplicateParameter, Response, html_response, redirect
from worker.sandbox.tokens import Consent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sandbox.messages import Request
    from worker.sandbox.settings import Settings
    from worker.sandbox.state import State

#: Unanswered pages that are remembered; the oldest goes first.
MAX_ASKED = 5000
#: A base64url SHA-256 digest without padding.
CHALLENGE_LENGTH = 43
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Asked:
    """One valid authorization request."""

    redirect_uri: str
    state: str
    scopes: tuple[str, ...]
    code_challenge: str
    nonce: str


class Refused(Exception):
    """An authorization request is refused with an error code of RFC 6749 section 4.1.2.1."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


def ask(request: Request, state: State) -> Response:
    """GET: the consent page, an error page, or an error sent back to the client."""
    first = {name: values[0] for name, values in parse_qs(request.query, keep_blank_values=True).items()}
    problem = _unsafe_to_return(request, first, state)
    if problem:
        return html_response(error_page(problem), HTTPStatus.BAD_REQUEST)
    redirect_uri, echoed = first["redirect_uri"], first.get("state", "")
    try:
        asked = _valid(request.parameters(), state.settings)
    except DuplicateParameter as fault:
        return _back(state, redirect_uri, echoed, error="invalid_request", error_description=str(fault))
    except Refused as refused:
        return _back(state, redirect_uri, echoed, error=refused.error, error_description=str(refused))
    interaction = secrets.token_hex(16)
    with state.lock:
        while len(state.asked) >= MAX_ASKED:
            state.asked.pop(next(iter(state.asked)))
        state.asked[interaction] = asked
    hint = first.get("login_hint", "")
    return _question(state, interaction, asked, login="" if hint.startswith("tenant:") else hint)


def answer(request: Request, state: State) -> Response:
    """POST of the form: back to the client with a code, or with `access_denied`."""
    try:
        form = request.form()
    except DuplicateParameter as fault:
        return html_response(error_page(str(fault)), HTTPStatus.BAD_REQUEST)
    interaction, user = form.get("interaction", ""), form.get("login", "").strip()
    with state.lock:
        asked = state.asked.get(interaction)
        if asked is None:
            message = "This page is no longer valid. Start again from the application."
            return html_response(error_page(message), HTTPStatus.BAD_REQUEST)
        if form.get("decision", "allow") != "allow":
            del state.asked[interaction]
            state.tally.consents["refused"] += 1
            return _back(state, asked.redirect_uri, asked.state, error="access_denied")
        if not user:
            return _question(state, interaction, asked, error="A user name is needed.")
        del state.asked[interaction]
        state.tally.consents["allowed"] += 1
        scopes = tuple(one for one in asked.scopes if one == "openid" or f"refuse:{one}" not in form)
        consent = Consent(user, scopes, asked.scopes, asked.redirect_uri, asked.code_challenge, asked.nonce)
        code = state.tokens.new_code(consent, state.now())
    session = {"session_state": secrets.token_urlsafe(16)} if "openid" in scopes else {}
    return _back(state, asked.redirect_uri, asked.state, code=code, **session)


def _unsafe_to_return(request: Request, first: Mapping[str, str], state: State) -> str:
    """Why the person cannot be sent back to the client; empty when he can."""
    given = parse_qs(request.query, keep_blank_values=True)
    if any(len(given.get(name, ())) > 1 for name in ("client_id", "redirect_uri")):
        return "client_id or redirect_uri is given more than once."
    if first.get("client_id") != state.config.client_id:
        return "The client application is not known or is not authorized."
    if not registered(first.get("redirect_uri", ""), state.settings):
        return "redirect_uri is not one of those registered for this client."
    return ""


def registered(redirect_uri: str, settings: Settings) -> bool:
    """Exact match with a registered URI, save for the port of a loopback address if the settings allow it."""
    if redirect_uri in settings.redirect_uris:
        return True
    return settings.loopback_any_port and any(
        _without_port(redirect_uri) == _without_port(known) != "" for known in settings.redirect_uris
    )


def _without_port(uri: str) -> str:
    """A plain http loopback URI without its port, empty for any other."""
    try:
        parts = urlsplit(uri)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        return ""
    if parts.scheme != "http" or host not in LOOPBACK or "@" in parts.netloc:
        return ""
    return uri if port is None else parts._replace(netloc=f"[{host}]" if ":" in host else host).geturl()


def _valid(parameters: Mapping[str, str], settings: Settings) -> Asked:
    if parameters.get("response_type") != "code":
        raise Refused("unsupported_response_type", "only response_type=code is served")
    scopes = tuple(dict.fromkeys(parameters.get("scope", "").split()))
    unknown = [one for one in scopes if one not in SCOPES]
    if unknown or not scopes:
        raise Refused("invalid_scope", f"unknown: {' '.join(unknown)}" if unknown else "no scope is asked for")
    challenge = parameters.get("code_challenge", "")
    if not challenge and settings.pkce_required:
        raise Refused("invalid_request", "code_challenge is required")
    if challenge and parameters.get("code_challenge_method") != "S256":
        raise Refused("invalid_request", "code_challenge_method must be S256")
    if challenge and len(challenge) != CHALLENGE_LENGTH:
        raise Refused("invalid_request", "code_challenge is not the S256 digest of a verifier")
    return Asked(
        parameters["redirect_uri"], parameters.get("state", ""), scopes, challenge, parameters.get("nonce", "")
    )


def _question(state: State, interaction: str, asked: Asked, *, login: str = "", error: str = "") -> Response:
    question = Question(interaction, state.config.client_id, state.config.platform, asked.scopes, login, error)
    return html_response(consent_page(question))


def _back(state: State, redirect_uri: str, echoed: str, **parameters: str) -> Response:
    """Send the person back to the client; `state` is echoed and `iss` added as the settings say (RFC 9207)."""
    if echoed:
        parameters["state"] = echoed
    iss = state.settings.callback_iss
    if iss != "absent":
        parameters["iss"] = state.issuer if iss == "right" else "https://attacker.example"
    joint = "&" if "?" in redirect_uri else "?"
    return redirect(f"{redirect_uri}{joint}{urlencode(parameters)}")
