"""`worker enroll`: one account, one consent, one command."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, say, tell
from worker.errors import EnrolmentFailed, UsageFault

if TYPE_CHECKING:
    from worker.accounts.client import Client
    from worker.accounts.enrolment import Choices, Enrolled
    from worker.wiring import Wiring

#: Where a pasted answer is expected to lead when the config names no redirect URI. Nothing listens there.
_PASTE_REDIRECT = "http://127.0.0.1:8765/callback"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("enroll")(enroll)


def enroll(
    context: typer.Context,
    integration: Annotated[str, typer.Argument(help="As in the config: [integrations.NAME].")],
    account: Annotated[str, typer.Argument(help="Your name for whoever consents.")],
    loopback: Annotated[bool, typer.Option("--loopback", help="Receive the answer on 127.0.0.1 (a desktop).")] = False,
    paste: Annotated[
        bool, typer.Option("--paste", help="Print the URL, read the answer from stdin (a server).")
    ] = False,
    import_token: Annotated[
        bool, typer.Option("--import-token", help="Take over a refresh token from stdin, from another tool.")
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the URL, open nothing.")] = False,
    replace_identity: Annotated[
        bool, typer.Option("--replace-identity", help="Let somebody else consent for an account that exists.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.", min=1)] = 600.0,
) -> None:
    """Enrol an account, or renew its consent in place.

    An account that exists keeps its history, cursors and schedules; what it missed is made up for at once.

    Examples: worker enroll arlo acme; on a host without a browser: worker enroll arlo acme --paste; from another
    tool: worker enroll arlo acme --import-token < token.txt
    """
    from worker.accounts.enrolment import Choices
    from worker.config.names import check_account_name
    from worker.engines.doorbell import ring

    if loopback + paste + import_token > 1:
        raise UsageFault("--loopback, --paste and --import-token exclude each other")
    check_account_name(account)
    called = invocation(context)
    wiring = called.wiring()
    client = wiring.client(integration)
    _ask_for_secret(wiring, client)
    way = "import" if import_token else "paste" if paste or not (loopback or _desktop()) else "loopback"
    choices = Choices(replace_identity, f"by {way}")
    if way == "import":
        enrolled = _import(wiring, client, account, choices)
    elif way == "paste":
        enrolled = _paste(wiring, client, account, choices, timeout)
    else:
        enrolled = _loopback(wiring, client, account, choices, (timeout, not no_browser))
    ring(wiring.state_folder)
    _report(enrolled, as_json=called.as_json)


def _desktop() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _ask_for_secret(wiring: Wiring, client: Client) -> None:
    """The first enrolment asks for the client secret, where there is somebody to ask."""
    from getpass import getpass

    from worker.redact import Secret

    integration = client.integration
    needed = integration.client_auth != "none" and "client_secret" not in integration.secrets
    if needed and sys.stdin.isatty() and wiring.store.secrets.get(client.name, "client_secret") is None:
        value = getpass(f"Client secret of {client.name} (kept encrypted, not shown): ", stream=sys.stderr).strip()
        if not value:
            raise UsageFault("no client secret was given")
        wiring.store.secrets.set(client.name, "client_secret", Secret(value), wiring.clock.now())


def _paste(wiring: Wiring, client: Client, account: str, choices: Choices, timeout: float) -> Enrolled:
    redirect_uri = client.integration.redirect_uri or _PASTE_REDIRECT
    attempt = wiring.enrolment.begin(client, account, redirect_uri)
    tell("Open this URL in any browser, on any machine, as the owner of the account:")
    say(attempt.url)
    sys.stdout.flush()
    tell("After consenting, the browser ends on an address that may not load. Paste that whole address here:")
    line = _read_line(timeout)
    if not line:
        raise EnrolmentFailed("nothing was pasted; nothing was changed", hint="start the enrolment again")
    return wiring.enrolment.finish(attempt, line, choices)


def _read_line(timeout: float) -> str:
    """One line of stdin, within the time a code could still be good for."""
    import select

    if not select.select([sys.stdin], [], [], timeout)[0]:
        raise EnrolmentFailed(
            f"nothing was pasted within {timeout:.0f} s; nothing was changed", hint="start the enrolment again"
        )
    return sys.stdin.readline().strip()


def _loopback(wiring: Wiring, client: Client, account: str, choices: Choices, waiting: tuple[float, bool]) -> Enrolled:
    from worker.accounts.loopback import LoopbackListener

    timeout, browser = waiting
    with LoopbackListener(client.integration.redirect_uri) as listener:
        attempt = wiring.enrolment.begin(client, account, listener.redirect_uri)
        listener.expect(attempt.expected)
        tell("Waiting for the consent of the account's owner at:")
        say(attempt.url)
        sys.stdout.flush()
        if browser:
            import webbrowser

            webbrowser.open(attempt.url)
        answer = listener.wait(timeout)
    return wiring.enrolment.finish(attempt, answer, choices)


def _import(wiring: Wiring, client: Client, account: str, choices: Choices) -> Enrolled:
    from getpass import getpass

    from worker.redact import Secret

    if sys.stdin.isatty():
        token = getpass("Refresh token (not shown): ", stream=sys.stderr).strip()
    else:
        token = sys.stdin.readline().strip()
    if not token:
        raise UsageFault("no refresh token on stdin", hint="worker enroll … --import-token < FILE")
    return wiring.enrolment.import_refresh_token(client, account, Secret(token), choices)


def _report(enrolled: Enrolled, *, as_json: bool) -> None:
    grant = enrolled.grant
    if as_json:
        print_json(
            {
                "integration": grant.account.integration,
                "account": grant.account.name,
                "state": grant.account.state,
                "created": enrolled.created,
                "generation": grant.generation,
                "scopes": list(grant.scopes),
                "missing_scopes": list(enrolled.scopes.missing),
                "extra_scopes": list(enrolled.scopes.extra),
                "identity": enrolled.label or None,
            }
        )
        return
    who = f", consented by {enrolled.label}" if enrolled.label else ""
    say(f"{grant.account.label} {'is enrolled' if enrolled.created else 'has consent again'}{who}")
    if enrolled.scopes.missing:
        tell(f"Not granted: {' '.join(enrolled.scopes.missing)}. Jobs that need them will be parked.")
    if enrolled.scopes.extra:
        tell(f"Granted beyond what was asked for: {' '.join(enrolled.scopes.extra)}")
    if not grant.has_refresh_token:
        tell("The provider gave no refresh token: consent will be needed again when the access token lapses.")
