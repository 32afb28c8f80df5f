"""`python -m worker.sandbox`: a sandbox in a process of its own.

Prints `READY {…}` as one line when it listens: JSON with `base_url`, `control_token`, every endpoint and the client's
credentials. Stops on SIGTERM and SIGINT, or when its standard input closes if `--with-parent` is given.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from typing import TYPE_CHECKING

from worker.sandbox.sandbox import Sandbox
from worker.sandbox.settings import BadControl, SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m worker.sandbox",
        description="A local authorization server and API with Arlo's behaviour, on 127.0.0.1.",
        epilog="Every setting may also be given as --set NAME=JSON and changed later through /_control/set.",
    )
    defaults = SandboxConfig()
    add = made.add_argument
    add("--port", type=int, default=0, help="0 takes a free one (default)")
    add("--platform", default=defaults.platform, help="name of the platform, the realm of challenges")
    add("--client-id", default=defaults.client_id)
    add("--client-secret", default=defaults.client_secret, help="empty makes the client public")
    add("--redirect-uri", action="append", metavar="URI", help="registered redirect URI; may be repeated")
    add("--access-ttl", type=float, default=defaults.access_ttl, metavar="SECONDS")
    add("--rows", type=int, default=defaults.rows, help="rows in each collection (default %(default)s)")
    add("--seed", type=int, default=defaults.seed, help="the same seed gives the same data")
    add("--rate-limit", type=int, default=defaults.rate_limit, help="API requests per minute; 0 is no limit")
    add("--control-token", default="", help="default: a random one; an option is visible to other users of the host")
    add("--set", action="append", default=[], metavar="NAME=JSON", help="any other setting, for example grace=5")
    add("--with-parent", action="store_true", help="stop when standard input closes")
    return made


def configuration(arguments: argparse.Namespace) -> SandboxConfig:
    """The configuration that the command line asks for; `BadControl` when a setting makes no sense."""
    values: dict[str, object] = {
        name: getattr(arguments, name)
        for name in ("port", "platform", "client_id", "client_secret", "access_ttl", "rows", "seed", "rate_limit")
    }
    values["control_token"] = arguments.control_token
    if arguments.redirect_uri:
        values["redirect_uris"] = tuple(arguments.redirect_uri)
    for pair in arguments.set:
        name, equals, text = pair.partition("=")
        try:
            value = json.loads(text)
        except ValueError:
            raise BadControl(f"--set {pair}: write NAME=JSON, for example callback_iss='\"absent\"'") from None
        values[name] = tuple(value) if isinstance(value, list) else value
        if not equals or name not in SandboxConfig.__dataclass_fields__:
            raise BadControl(f"--set {pair}: unknown setting {name!r}")
    return SandboxConfig(**values)  # type: ignore[arg-type] # checked by the class itself


def main(given: Sequence[str] | None = None) -> int:
    """Serve until told to stop."""
    made = parser()
    arguments = made.parse_args(given)
    try:
        sandbox = Sandbox(configuration(arguments))
    except (BadControl, OSError) as fault:
        made.error(str(fault))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    if arguments.with_parent:
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    with sandbox:
        sys.stdout.write(f"READY {json.dumps(sandbox.addresses())}\n")
        sys.stdout.flush()
        stop.wait()
    return 0


def _stop_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
