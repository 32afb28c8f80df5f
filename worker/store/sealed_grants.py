"""What a grant's row holds sealed, and how it gets in and out: each value bound to account, field and generation."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.crypto.sealing import Binding
from worker.errors import KeyUnusable, TamperedSecret
from worker.redact import Secret
from worker.store.accounts import to_account
from worker.store.records import Grant

if TYPE_CHECKING:
    from worker.crypto.sealing import Sealer
    from worker.store.records import Consent, NewTokens
    from worker.store.tables import AccountRow, GrantRow, RefreshIntentRow


class SealedGrants:
    """Fills the rows of grants, and reads them; the transaction is the caller's."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def open_refresh_token(self, row: GrantRow, account: AccountRow) -> Secret:
        """The refresh token of a row that has one."""
        assert row.sealed_refresh_token is not None
        return self._sealer.open(row.sealed_refresh_token, grant_binding(account, "refresh_token", row.generation))

    def open_identity(self, row: GrantRow, account: AccountRow) -> dict[str, str]:
        """Who consented; empty when the provider did not say."""
        if row.sealed_identity is None:
            return {}
        binding = grant_binding(account, "identity", row.consent_generation)
        identity: dict[str, str] = json.loads(self._sealer.open(row.sealed_identity, binding).reveal())
        return identity

    def replace_tokens(
        self, row: GrantRow, account: AccountRow, tokens: NewTokens, *, keep_refresh_token: bool = True
    ) -> bool:
        """Write the new tokens under the next generation; answers whether the refresh token is a new one."""
        refresh_token = tokens.refresh_token
        rotated = refresh_token is not None
        # Some providers repeat the one that goes on being good.
        replaced = rotated and refresh_token != self._known_refresh_token(row, account)
        access_token = tokens.access_token
        if not access_token and row.sealed_access_token is not None:
            # The provider extends the old one instead of giving a new one.
            access_token = self._sealer.open(
                row.sealed_access_token, grant_binding(account, "access_token", row.generation)
            )
        if refresh_token is None and keep_refresh_token and row.sealed_refresh_token is not None:
            # Sealed anew: the ciphertext is bound to the generation.
            refresh_token = self.open_refresh_token(row, account)
        row.generation += 1
        if replaced:
            row.refresh_token_generation = row.generation
        row.refresh_token_spent = row.refresh_token_spent and not rotated
        row.sealed_refresh_token = (
            None
            if refresh_token is None
            else self._sealer.seal(refresh_token, grant_binding(account, "refresh_token", row.generation))
        )
        row.sealed_access_token = self._sealer.seal(
            access_token, grant_binding(account, "access_token", row.generation)
        )
        row.token_type, row.issued_at, row.lifetime = tokens.token_type, tokens.issued_at, tokens.lifetime
        row.refused_generation, row.refused_alive = None, False
        if tokens.scopes is not None:
            row.scopes = list(tokens.scopes)
        return rotated

    def raise_generation(self, row: GrantRow, account: AccountRow, generation: int) -> None:
        """Seal what the row holds for a later generation. What does not open stays as it is."""
        for field in ("refresh_token", "access_token"):
            sealed = getattr(row, f"sealed_{field}")
            with suppress(TamperedSecret, KeyUnusable):
                if sealed is not None:
                    secret = self._sealer.open(sealed, grant_binding(account, field, row.generation))
                    sealed = self._sealer.seal(secret, grant_binding(account, field, generation))
            setattr(row, f"sealed_{field}", sealed)
        row.generation = generation

    def _known_refresh_token(self, row: GrantRow, account: AccountRow) -> Secret | None:
        try:
            return None if row.sealed_refresh_token is None else self.open_refresh_token(row, account)
        except (TamperedSecret, KeyUnusable):
            return None

    def same_person(self, row: GrantRow, account: AccountRow, consent: Consent) -> bool:
        """Whether whoever consented before has consented again: some providers send a refresh token only once."""
        if row.refresh_token_spent:
            return False
        subject = consent.identity.get("subject")
        try:
            known = self.open_identity(row, account).get("subject")
        except (TamperedSecret, KeyUnusable):
            # To consent again is the way out of a value that does not open; it must not stand in the way.
            return False
        return known is not None and known == subject

    def replace_consent(self, row: GrantRow, account: AccountRow, consent: Consent, now: float) -> None:
        """Write who consented, to what, as which generation."""
        row.consented_at, row.consent_generation, row.refreshed_at = now, row.generation, None
        row.requested_scopes = list(consent.requested_scopes)
        if consent.tokens.scopes is None:
            # No scope in the answer: what was asked for is what was granted (RFC 6749, section 5.1).
            row.scopes = list(consent.requested_scopes)
        row.sealed_identity = None
        if consent.identity:
            binding = grant_binding(account, "identity", row.consent_generation)
            row.sealed_identity = self._sealer.seal(Secret(json.dumps(consent.identity)), binding)

    def to_grant(
        self, row: GrantRow, account: AccountRow, intent: RefreshIntentRow | None, *, with_token: bool = True
    ) -> Grant:
        """The record of a row, with its access token open.

        One that was tampered with is none: the refresh token is sealed by itself, and a new access token mends it.
        """
        access_token, unreadable = None, ""
        if with_token and row.sealed_access_token is not None:
            binding = grant_binding(account, "access_token", row.generation)
            try:
                access_token = self._sealer.open(row.sealed_access_token, binding)
            except TamperedSecret as error:
                unreadable = error.message
        same = intent is not None and intent.generation == row.generation
        return Grant(
            account=to_account(account),
            generation=row.generation,
            access_token=access_token,
            token_type=row.token_type,
            scopes=tuple(row.scopes),
            requested_scopes=tuple(row.requested_scopes),
            issued_at=row.issued_at,
            lifetime=row.lifetime,
            consented_at=row.consented_at,
            refreshed_at=row.refreshed_at,
            refused_generation=row.refused_generation,
            failures=row.failures,
            failing_since=row.failing_since,
            not_before=row.not_before,
            intent_started_at=intent.started_at if intent is not None and same else None,
            attempt_begun_at=intent.attempted_at if intent is not None and same else None,
            has_refresh_token=row.sealed_refresh_token is not None,
            refused_alive=row.refused_alive,
            held=row.held is not None,
            unreadable=unreadable,
            alerted_at=row.alerted_at,
        )


def grant_binding(account: AccountRow, field: str, generation: int) -> Binding:
    """What a value of a grant's row is bound to."""
    return Binding("grant", account.uid, field, generation)
