"""An account as the commands name it, show it, and say what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.clock import rfc3339
from worker.errors import NeedsConsent, UsageFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.store.records import Account, TimelineEntry
    from worker.wiring import Wiring

IntegrationArgument = Annotated[str, typer.Argument(help="The integration, or INTEGRATION/ACCOUNT in one word.")]
NameArgument = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account.")]


def find(wiring: Wiring, integration: str, name: str) -> Account:
    """The account that two words, or one with a slash, mean."""
    if not name:
        integration, _, name = integration.partition("/")
    if not name:
        raise UsageFault("which account?", hint="worker accounts list")
    return wiring.store.accounts.get(integration, name)


def describe(wiring: Wiring, account: Account) -> dict[str, Any]:
    """An account for `--json`. Times are RFC 3339 in UTC. A value that does not open is told in `unreadable`."""
    from worker.store.sealed_values import find_unopened_of

    facts: dict[str, Any] = {
        "integration": account.integration,
        "account": account.name,
        "state": account.state,
        "cause": account.cause or None,
        "reason": account.reason or None,
        "state_since": rfc3339(account.state_since),
        "enrolled_at": rfc3339(account.created_at),
    }
    try:
        grant = wiring.store.grants.look(account.id)
    except NeedsConsent:
        times = ("access_token_expires_at", "last_refreshed_at", "consented_at", "failing_since", "alerted_at")
        return (
            facts
            | {"scopes": [], "requested_scopes": [], "generation": 0, "failures": 0, "subject": None, "unreadable": []}
            | dict.fromkeys(times)
        )
    faults = find_unopened_of(wiring.store.database, wiring.sealer, account.id)
    hidden = any(fault.kind == "identity" for fault in faults)
    return facts | {
        "scopes": list(grant.scopes),
        "requested_scopes": list(grant.requested_scopes),
        "generation": grant.generation,
        "access_token_expires_at": rfc3339(grant.expires_at),
        "last_refreshed_at": rfc3339(grant.refreshed_at),
        "consented_at": rfc3339(grant.consented_at),
        "failing_since": rfc3339(grant.failing_since),
        "failures": grant.failures,
        "alerted_at": rfc3339(grant.alerted_at),
        "subject": None if hidden else wiring.store.grants.read_identity(account.id).get("subject"),
        "unreadable": [fault.message for fault in faults],
    }


def remedy(account: Account, scopes: Sequence[str] = ()) -> str:
    """What a human has to do for this account, whose jobs lack these scopes; empty when nothing."""
    from worker.store.records import consent_remedy

    names = f"{account.integration} {account.name}"
    if account.cause == "held":
        decide = f"worker accounts release {account.integration}, or worker accounts confirm {account.integration}"
        return f"nothing yet: a canary account decides; or you do: {decide}"
    return {
        "needs_consent": consent_remedy(account.integration, account.name, account.cause, scopes),
        "paused": f"worker accounts resume {names}",
        "revoked": f"worker enroll {names}, or worker accounts remove {names}",
        "in_doubt": "nothing yet: the next use settles it",
    }.get(account.state, "")


def describe_entry(entry: TimelineEntry) -> dict[str, Any]:
    """One thing that happened to an account, for `--json`."""
    return {
        "at": rfc3339(entry.at),
        "kind": entry.kind,
        "before": entry.before,
        "after": entry.after,
        "cause": entry.cause,
        "message": entry.message,
        "evidence": entry.evidence,
        "generation": entry.generation,
        "run_id": entry.run_id,
    }


def line_of(entry: TimelineEntry) -> str:
    """The same for people."""
    moved = f"{entry.before} -> {entry.after}" if entry.after and entry.before != entry.after else entry.kind
    generation = f" (generation {entry.generation})" if entry.generation is not None else ""
    text = f": {entry.message}" if entry.message else ""
    cause = f" [{entry.cause}]" if entry.cause and entry.cause != entry.kind else ""
    return f"{rfc3339(entry.at)}  {moved}{cause}{text}{generation}"
