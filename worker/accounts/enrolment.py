"""Enrolment: the authorization code flow (RFC 6749 section 4.1) with PKCE, once, by a human.

An attempt lives in memory for as long as the human takes. Nothing is stored before everything has been checked, so an
enrolment that fails leaves an existing grant exactly as it was. A code is redeemed once and never again, whatever
becomes of the answer (section 4.1.2: a second redemption may revoke what the first one granted).
"""

from __future__ import annotations

import logging
import secrets
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from worker.accounts.giving_back import give_back
from worker.accounts.patience import Patience
from worker.accounts.recovery import client_accepted
from worker.accounts.token_endpoint import NoAnswer, NotSent
from worker.accounts.who import NotTold, identify, identify_imported
from worker.errors import EnrolmentFailed, KeyUnusable, Misconfigured, TamperedSecret, TryAgainLater
from worker.events import AccountMoved
from worker.oauth.authorization import AuthorizationRequest, ExpectedCallback, authorization_url, read_callback
from worker.oauth.pkce import challenge_s256, new_verifier
from worker.oauth.scopes import compare
from worker.oauth.token_request import Redemption, code_request, refresh_request
from worker.oauth.verdict import ClientAtFault, GrantDead, Postponed, TokenGranted
from worker.redact import Secret
from worker.states import AccountState
from worker.store.locks import account_lock
from worker.store.records import Consent, NewTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.accounts.client import Client
    from worker.clock import Clock
    from worker.events import Events
    from worker.oauth.scopes import ScopeDifference
    from worker.oauth.tokens import Tokens
    from worker.oauth.verdict import Outcome
    from worker.redact import Scrubber
    from worker.store.records import Account, Grant
    from worker.store.store import Store

log = logging.getLogger(__name__)

#: 256 bits, as for the PKCE verifier.
_STATE_BYTES = 32


@dataclass(frozen=True)
class Attempt:
    """One try at an enrolment; good for one answer."""

    client: Client
    account: str
    #: What the human opens. Holds the state and the nonce.
    url: str = field(repr=False)
    expected: ExpectedCallback
    verifier: Secret
    nonce: str | None = field(repr=False)
    _unspent: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def spend(self) -> None:
        """Use the attempt up. Raises EnrolmentFailed when it has been: a code is sent once, whatever became of it."""
        if not self._unspent.acquire(blocking=False):
            raise EnrolmentFailed(
                "this attempt has had its answer; nothing was changed", hint="start the enrolment again"
            )


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

    def __init__(
        self, store: Store, clock: Clock, events: Events, scrubber: Scrubber, patience: Patience | None = None
    ) -> None:
        self._store = store
        self._patience = patience or Patience()
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
            scope_parameter=integration.scope_parameter,
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
        attempt.spend()
        redemption = Redemption(code, attempt.expected.redirect_uri, attempt.verifier)
        client = attempt.client
        request = code_request(
            client.token_url(), client.credentials(), redemption, extra=client.integration.token_params
        )
        with self._alone(client, attempt.account):
            asked_at = self._clock.now()
            tokens = self._granted(client.ask(request), "the authorization code")
            nonce, now = attempt.nonce, self._clock.now()
            identity = self._identify(client, attempt.account, lambda: identify(client, tokens, nonce, now), choices)
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
        # Found now, not after the token has been spent.
        client.identity_url()
        with self._alone(client, account):
            asked_at = self._clock.now()
            tokens = self._granted(client.ask(request), "the refresh token")
            if tokens.refresh_token is None:
                # Kept by the provider: the one that was given stays good.
                tokens = _with_refresh_token(tokens, refresh_token)
            now = self._clock.now()
            identity = self._identify(client, account, lambda: identify_imported(client, tokens, now), choices)
            return self._store_grant(client, account, tokens, asked_at, identity, choices)

    @contextmanager
    def _alone(self, client: Client, account: str) -> Iterator[None]:
        """Nobody else enrols this account, and lock and store can be written, before anything is spent."""
        with self._store.locks.hold(f"enrol-{client.name}-{account}"):
            self._store.database.prove_writable()
            yield

    def _identify(
        self, client: Client, account: str, ask: Callable[[], dict[str, str]], choices: Choices
    ) -> dict[str, str]:
        """Who consented. It may stay open where there is nobody to mistake him for: what was redeemed is spent by now.

        Where the account has an owner, an unknown one is refused as another one would be: a consent can be given once
        more, while one person's data among another's cannot be told apart again.
        """
        try:
            return self._patience.until_told(ask)
        except NotTold as error:
            known = self._store.accounts.find(client.name, account)
            owner = {} if known is None or choices.replace_identity else self._owner(known)
            if owner:
                raise EnrolmentFailed(
                    f"{client.name}/{account} belongs to {owner['label']}, and who consented now is unknown:"
                    f" {error.message}; nothing was changed",
                    hint=f"{error.hint}; or add --replace-identity if it is the right person",
                ) from None
            log.warning(
                "the grant is stored without its owner: a later consent cannot be compared with this one",
                extra={"reason": error.message, "hint": f"{error.hint}; then enrol the account again"},
            )
            return {}

    def revoke(self, client: Client, account: Account) -> str:
        """Give the grant back to the provider (RFC 7009), then forget it. Answers what the provider said.

        Raises TryAgainLater when the provider could not be reached: then the grant is still valid and kept.
        """
        with self._store.locks.hold(account_lock(account.id)):
            grant = self._store.grants.read(account.id)
            url = client.revoke_url()
            said = "the provider has no revocation endpoint; remove the access there by hand"
            if url is not None:
                said = self._give_back(client, url, grant)
            self._store.grants.erase(account, self._clock.now())
        self._tell(account, AccountState.REVOKED, "revoked by the operator")
        return said

    def _give_back(self, client: Client, url: str, grant: Grant) -> str:
        if grant.has_refresh_token:
            give_back(client, grant.account, url, self._store.grants.read_refresh_token(grant), "refresh_token")
        elif grant.access_token is not None:
            give_back(client, grant.account, url, grant.access_token, "access_token")
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
        before, grant = self._patience.until_stored(lambda: self._store_consent(consent, choices))
        if before is not None:
            self._tell(before, AccountState.ACTIVE, "a human consented")
        client_accepted(self._store, self._events, client.name, self._clock.now(), "an enrolment succeeded")
        return Enrolled(grant, before is None, compare(requested, grant.scopes), identity.get("label", ""))

    def _store_consent(self, consent: Consent, choices: Choices) -> tuple[Account | None, Grant]:
        """Store it; answers the account as it was before."""
        with ExitStack() as held:
            before = self._store.accounts.find(consent.integration, consent.account)
            if before is not None:
                # A refresh that is under way ends first, and cannot overwrite this.
                held.enter_context(self._store.locks.hold(account_lock(before.id)))
                before = self._store.accounts.by_id(before.id)
                self._refuse_other(before, consent.identity, choices)
            return before, self._store.grants.store_consent(consent, self._clock.now())

    def _refuse_other(self, account: Account, identity: dict[str, str], choices: Choices) -> None:
        if choices.replace_identity:
            return
        known = self._owner(account)
        if not known or not identity or known["subject"] == identity["subject"]:
            return
        raise EnrolmentFailed(
            f"{account.label} belongs to {known['label']}, but {identity['label']} consented; nothing was changed",
            hint="consent as the same person, or add --replace-identity",
        )

    def _owner(self, account: Account) -> dict[str, str]:
        """Who consented before; empty when that is not known. Raises EnrolmentFailed when it cannot be read."""
        try:
            return self._store.grants.read_identity(account.id)
        except (TamperedSecret, KeyUnusable) as error:
            raise EnrolmentFailed(
                f"who owns {account.label} cannot be read: {error.message}; nothing was changed",
                hint="if it is the right person, add --replace-identity",
            ) from error

    def _tell(self, account: Account, after: AccountState, cause: str) -> None:
        if after is not account.state:
            self._events.publish(AccountMoved(account.integration, account.name, account.state, after, cause))


def _with_refresh_token(tokens: Tokens, refresh_token: Secret) -> Tokens:
    return replace(tokens, refresh_token=refresh_token.reveal())
