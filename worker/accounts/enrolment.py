"""Enrolment: the authorization code flow (RFC 6749 section 4.1) with PKCE, once, by a human.

An attempt lives in memory for as long as the human takes. Nothing is stored before everything has been checked, so an
enrolment that fails leaves an existing grant exactly as it was. A code is redeemed once and never again, whatever
becomes of the answer (section 4.1.2: a second redemption may revoke what the first one granted).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import requests

from worker.accounts.token_endpoint import NoAnswer, NotSent
from worker.errors import EnrolmentFailed, Misconfigured, TryAgainLater
from worker.events import AccountMoved
from worker.oauth.authorization import AuthorizationRequest, ExpectedCallback, authorization_url, read_callback
from worker.oauth.identity import identity_of, read_id_token
from worker.oauth.pkce import challenge_s256, new_verifier
from worker.oauth.scopes import compare
from worker.oauth.token_request import Redemption, code_request, refresh_request, revocation_request
from worker.oauth.verdict import ClientAtFault, GrantDead, Postponed, TokenGranted
from worker.redact import Secret
from worker.states import AccountState
from worker.store.records import Consent, NewTokens
from worker.store.store import account_lock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.accounts.client import Client
    from worker.clock import Clock
    from worker.events import Events
    from worker.oauth.scopes import ScopeDifference
    from worker.oauth.tokens import Tokens
    from worker.oauth.verdict import Outcome
    from worker.redact import Scrubber
    from worker.store.records import Account, Grant
    from worker.store.store import Store

#: 256 bits, as for the PKCE verifier.
_STATE_BYTES = 32
#: Bytes of an identity answer.
_LARGEST_IDENTITY = 1 << 18
_OK = 200


@dataclass(frozen=True)
class Attempt:
    """One try at an enrolment; good for one answer."""

    client: Client
    account: str
    #: What the human opens.
    url: str
    expected: ExpectedCallback
    verifier: Secret
    nonce: str | None


@dataclass(frozen=True)
class Enrolled:
    """A finished enrolment."""

    grant: Grant
    #: False: re-consent in place.
    created: bool
    scopes: ScopeDifference
    #: Who consented; empty when the provider does not say.
    label: str


@dataclass(frozen=True)
class Choices:
    """What the operator decided beforehand."""

    replace_identity: bool = False
    how: str = ""


class Enrolment:
    """Begins attempts, and finishes them."""

    def __init__(self, store: Store, clock: Clock, events: Events, scrubber: Scrubber) -> None:
        self._store = store
        self._clock = clock
        self._events = events
        self._scrubber = scrubber

    def begin(self, client: Client, account: str, redirect_uri: str) -> Attempt:
        """A new attempt, with the URL to open. Raises Misconfigured, TryAgainLater (discovery)."""
        integration = client.integration
        # Found now, not after a human has taken the trouble to consent.
        client.credentials()
        client.token_url()
        advertised = client.metadata().iss_advertised if integration.issuer else False
        state, verifier = secrets.token_urlsafe(_STATE_BYTES), new_verifier()
        nonce = secrets.token_urlsafe(_STATE_BYTES) if "openid" in integration.scopes else None
        self._scrubber.learn(state, verifier, nonce)
        separator = integration.scope_separator or " "
        request = AuthorizationRequest(
            client_id=integration.client_id,
            redirect_uri=redirect_uri,
            scopes=integration.scopes if separator == " " else (separator.join(integration.scopes),),
            state=state,
            code_challenge=challenge_s256(verifier),
            nonce=nonce,
            extra=integration.authorize_params,
        )
        return Attempt(
            client=client,
            account=account,
            url=authorization_url(client.authorize_url(), request),
            expected=ExpectedCallback(redirect_uri, state, client.issuer(), iss_required=advertised),
            verifier=Secret(verifier),
            nonce=nonce,
        )

    def finish(self, attempt: Attempt, callback: str, choices: Choices) -> Enrolled:
        """Check the answer, redeem the code once, store the grant.

        Raises EnrolmentFailed (refused, forged, expired, somebody else), Misconfigured (the client), TryAgainLater
        (the provider could not answer; the code is spent or lost, so begin again).
        """
        code = Secret(read_callback(callback, expected=attempt.expected))
        self._scrubber.learn(code)
        redemption = Redemption(code, attempt.expected.redirect_uri, attempt.verifier)
        client = attempt.client
        request = code_request(
            client.token_url(), client.credentials(), redemption, extra=client.integration.token_params
        )
        asked_at = self._clock.now()
        tokens = self._granted(client.ask(request), "the authorization code")
        identity = self._identify(client, tokens, attempt.nonce)
        return self._store_grant(client, attempt.account, tokens, asked_at, identity, choices)

    def import_refresh_token(self, client: Client, account: str, refresh_token: Secret, choices: Choices) -> Enrolled:
        """Take over a refresh token from another tool. It is spent once here, to prove that it works.

        Raises as `finish` does. Under rotation the token given is void afterwards: the other tool must not use it.
        """
        self._scrubber.learn(refresh_token)
        integration = client.integration
        redirect_uri = integration.redirect_uri if integration.refresh_sends_redirect_uri else None
        request = refresh_request(
            client.token_url(),
            client.credentials(),
            refresh_token,
            redirect_uri=redirect_uri,
            extra=integration.token_params,
        )
        asked_at = self._clock.now()
        tokens = self._granted(client.ask(request), "the refresh token")
        if tokens.refresh_token is None:
            # Kept by the provider: the one that was given stays good.
            tokens = _with_refresh_token(tokens, refresh_token)
        identity = self._identify(client, tokens, None)
        return self._store_grant(client, account, tokens, asked_at, identity, choices)

    def revoke(self, client: Client, account: Account) -> str:
        """Give the grant back to the provider (RFC 7009), then forget it. Answers what the provider said.

        Raises TryAgainLater when the provider could not be reached: then the grant is still valid and kept.
        """
        with self._store.locks.hold(account_lock(account.id)):
            grant = self._store.grants.read(account.id)
            url = client.revoke_url()
            said = "the provider has no revocation endpoint; remove the access there by hand"
            if url is not None and grant.has_refresh_token:
                token = self._store.grants.read_refresh_token(grant)
                said = self._give_back(client, url, token)
            self._store.grants.erase(account, self._clock.now())
        self._tell(account, AccountState.REVOKED, "revoked by the operator")
        return said

    def _give_back(self, client: Client, url: str, token: Secret) -> str:
        session = requests.Session()
        session.auth = _as_it_is
        request = revocation_request(url, client.credentials(), token)
        timeout = (client.integration.connect_timeout, client.integration.read_timeout)
        try:
            response = session.post(
                request.url, data=request.form, headers=request.headers, timeout=timeout, allow_redirects=False
            )
        except requests.RequestException as error:
            raise TryAgainLater(
                f"the provider could not be reached ({type(error).__name__}); the grant is still valid and kept"
            ) from None
        if response.status_code != _OK:
            raise TryAgainLater(
                f"the provider answered {response.status_code} to the revocation; the grant is kept",
                hint=f"try again, or remove the access at the provider and then: worker accounts remove"
                f" {client.name} ACCOUNT --keep-grant",
            )
        return "revoked at the provider"

    def _granted(self, answer: Outcome | NotSent | NoAnswer, what: str) -> Tokens:
        match answer:
            case TokenGranted(tokens=tokens):
                self._scrubber.learn(tokens.access_token, tokens.refresh_token, tokens.id_token)
                return tokens
            case GrantDead(evidence=evidence):
                word = evidence.get("error") or evidence.get("status")
                raise EnrolmentFailed(
                    f"the provider refuses {what} ({word}): it has expired or was used before",
                    hint="start the enrolment again, and finish it within a minute",
                    evidence=evidence,
                )
            case ClientAtFault(evidence=evidence):
                raise Misconfigured(
                    f"the provider refuses the client itself ({evidence.get('error') or evidence.get('status')})",
                    hint="look at client_id, client_auth and redirect_uri; worker secrets set … client_secret",
                    evidence=evidence,
                )
            case Postponed(evidence=evidence, after=after):
                status = evidence.get("error") or evidence.get("status")
                raise TryAgainLater(
                    f"the provider could not redeem {what} ({status}); nothing was stored",
                    after=after,
                    hint="start the enrolment again in a while",
                    evidence=evidence,
                )
            case NotSent(evidence=evidence) | NoAnswer(evidence=evidence):
                raise TryAgainLater(
                    f"no answer from the token endpoint ({evidence.get('fault')}); nothing was stored",
                    hint="start the enrolment again",
                    evidence=evidence,
                )

    def _identify(self, client: Client, tokens: Tokens, nonce: str | None) -> dict[str, str]:
        """Who consented, from the ID token or the identity URL; empty when the provider offers neither."""
        claims: Mapping[str, object] | None = None
        claim = client.integration.identity_claim
        if tokens.id_token is not None:
            claims = read_id_token(
                tokens.id_token,
                issuer=client.issuer(),
                client_id=client.integration.client_id,
                nonce=nonce,
                now=self._clock.now(),
            )
        elif (url := client.identity_url()) is not None:
            claims = _ask_identity(client, url, tokens)
        if claims is None:
            return {}
        identity = identity_of(dict(claims), subject_claim=claim)
        return {"subject": identity.subject, "label": identity.label}

    def _store_grant(
        self,
        client: Client,
        account: str,
        tokens: Tokens,
        asked_at: float,
        identity: dict[str, str],
        choices: Choices,
    ) -> Enrolled:
        requested = client.integration.scopes
        consent = Consent(
            integration=client.name,
            account=account,
            tokens=NewTokens(
                access_token=Secret(tokens.access_token),
                refresh_token=None if tokens.refresh_token is None else Secret(tokens.refresh_token),
                token_type=tokens.token_type,
                lifetime=tokens.expires_in,
                issued_at=asked_at,
                scopes=tokens.scopes,
            ),
            requested_scopes=requested,
            identity=identity,
            how=choices.how,
        )
        before = self._store.accounts.find(client.name, account)
        if before is None:
            grant = self._store.grants.store_consent(consent, self._clock.now())
        else:
            # Under the account's lock: a refresh that is under way ends first, and cannot overwrite this.
            with self._store.locks.hold(account_lock(before.id)):
                self._refuse_other(before, identity, choices)
                grant = self._store.grants.store_consent(consent, self._clock.now())
            self._tell(before, AccountState.ACTIVE, "a human consented")
        return Enrolled(grant, before is None, compare(requested, grant.scopes), identity.get("label", ""))

    def _refuse_other(self, account: Account, identity: dict[str, str], choices: Choices) -> None:
        known = self._store.grants.read_identity(account.id)
        if choices.replace_identity or not known or not identity or known["subject"] == identity["subject"]:
            return
        raise EnrolmentFailed(
            f"{account.label} belongs to {known['label']}, but {identity['label']} consented; nothing was changed",
            hint="consent as the same person, or add --replace-identity",
        )

    def _tell(self, account: Account, after: AccountState, cause: str) -> None:
        if after is not account.state:
            self._events.publish(AccountMoved(account.integration, account.name, account.state, after, cause))


def _ask_identity(client: Client, url: str, tokens: Tokens) -> Mapping[str, object]:
    headers = {
        "Authorization": f"Bearer {tokens.access_token}",
        "Accept": "application/json",
        **client.integration.headers,
    }
    headers["Accept"] = "application/json"
    session = requests.Session()
    session.auth = _as_it_is
    timeout = (client.integration.connect_timeout, client.integration.read_timeout)
    try:
        response = session.get(url, headers=headers, timeout=timeout, allow_redirects=False)
        claims = response.json() if len(response.content) <= _LARGEST_IDENTITY else None
    except (requests.RequestException, ValueError, RecursionError) as error:
        raise EnrolmentFailed(f"the identity URL gave no answer that can be read ({type(error).__name__})") from None
    if response.status_code != _OK or not isinstance(claims, dict):
        raise EnrolmentFailed(
            f"the identity URL answered {response.status_code}", hint="look at identity_url and the scopes"
        )
    return claims


def _with_refresh_token(tokens: Tokens, refresh_token: Secret) -> Tokens:
    return replace(tokens, refresh_token=refresh_token.reveal())


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
