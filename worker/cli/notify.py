"""`worker notify`: the ways to reach people, tried out; and what people were told."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say
from worker.errors import UsageFault

if TYPE_CHECKING:
    from worker.store.notifications import Notification
    from worker.wiring import Wiring

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Notifications: test, list, secret.")

#: Seconds that a route may take over the test.
_PATIENCE = 15.0


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="notify")


@group.command("test")
def try_out(
    context: typer.Context,
    route: Annotated[list[str] | None, typer.Option(help="Only this route; may be given several times.")] = None,
) -> None:
    """Send a test message on every route of the config, and show which took it. Fails if any did not.

    Example: worker notify test --route ops
    """
    called = invocation(context)
    wiring = called.wiring()
    wanted = _wanted(wiring, route or [])
    found = wiring.deliverer.tell(_test_item(wiring.clock.now()), _PATIENCE, only=wanted)
    rows = [{"route": name, "taken": not fault, "error": fault or None} for name, fault in found.items()]
    if called.as_json:
        print_json(rows)
    else:
        print_table(("route", "taken", "error"), rows)
    if any(found.values()):
        raise typer.Exit(1)


@group.command("list")
def list_told(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
) -> None:
    """Show what people were told, newest first, and which routes took it when.

    Example: worker notify list --limit 5
    """
    from worker.clock import rfc3339
    from worker.store.snapshot import outbox

    called = invocation(context)
    config = called.load_config()
    path = config.store.sqlite_path
    url = "" if path is not None else config.store.read_url(os.environ, config.base_dir)
    found = outbox(url, path, limit)
    for one in found:
        one["created_at"] = rfc3339(one["created_at"])
        for tried in one["routes"]:
            tried |= {name: rfc3339(tried[name]) for name in ("delivered_at", "given_up_at")}
    if called.as_json:
        print_json(found)
        return
    rows = [{**one, "reason": one["facts"].get("reason"), "told": _told(one["routes"])} for one in found]
    columns = ("created_at", "event", "integration", "account", "reason", "told")
    print_table(columns, rows, empty="nobody had to be told anything yet")


@group.command("secret")
def secret(context: typer.Context, route: Annotated[str, typer.Argument(help="A webhook's name.")]) -> None:
    """Keep the secret that signs a webhook's messages in the encrypted store; read from a prompt or stdin.

    Example: worker notify secret ops < secret.txt
    """
    from getpass import getpass

    from worker.notify.routes import SIGNING
    from worker.redact import Secret

    called = invocation(context)
    wiring = called.wiring()
    name = _wanted(wiring, [route])[0]
    if sys.stdin.isatty():
        value = getpass(f"secret of {name} (not shown): ", stream=sys.stderr).strip()
    else:
        value = sys.stdin.readline().rstrip("\r\n")
    if not value:
        raise UsageFault("no value on stdin", hint=f'worker notify secret "{name}" < FILE')
    replaced = wiring.store.secrets.set(SIGNING, name, Secret(value), wiring.clock.now())
    if called.as_json:
        print_json({"route": name, "replaced": replaced})
    else:
        say(f"{name}: secret {'replaced' if replaced else 'stored'}")


def _wanted(wiring: Wiring, names: list[str]) -> list[str]:
    """The routes of these names, all for none. Raises UsageFault."""
    known = [item.name for item in wiring.config.notify]
    if not known:
        raise UsageFault("no routes are configured", hint=f"add [[notify]] to {wiring.config.path}")
    missing = [name for name in names if name not in known]
    if missing:
        raise UsageFault(f'there is no route "{missing[0]}"; configured: {", ".join(known)}', hint="worker notify test")
    return names or known


def _test_item(now: float) -> Notification:
    import secrets

    from worker.store.notifications import Notification

    facts = {"cause": "test", "reason": "a test; nothing has happened and nothing needs doing", "since": now}
    return Notification(0, secrets.token_hex(12), now, "test", "worker", None, facts)


def _told(routes: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{one['route']}: {'told' if one['delivered_at'] else 'given up' if one['given_up_at'] else one['last_error']}"
        for one in routes
    )
