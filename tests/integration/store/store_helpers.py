"""What the store's tests say often: an enrolment, an answer with tokens, a reason."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.crypto.keyring import render_keyring
from worker.redact import Secret
from worker.store import snapshot
from worker.store.records import Consent, Finding, NewTokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.crypto.keyring import Keyring
    from worker.store.records import Due, Grant
    from worker.store.store import Store

#: 2026-01-01T00:00:00Z, where the clock of these tests stands.
NOW = 1_767_225_600.0
ACCESS, REFRESH = "first-access-token", "first-refresh-token"
DEAD = Finding("revoked", "the provider refuses the refresh token (invalid_grant)", {"status": 400})
LATER = Finding("try again later", "no new access token: 503", {"status": 503})
SILENCE = Finding("no answer", "no answer to a refresh", {"fault": "timeout"})
_PROCESS = Path(__file__).with_name("store_process.py")


def tokens(access: str = "second-access-token", refresh: str | None = "second-refresh-token") -> NewTokens:
    """The tokens of a usual answer; `refresh=None` is an answer without a refresh token."""
    return NewTokens(
        access_token=Secret(access),
        refresh_token=None if refresh is None else Secret(refresh),
        token_type="Bearer",
        lifetime=3600.0,
        issued_at=NOW,
        scopes=None,
    )


def consent(account: str = "acme", **changes: object) -> Consent:
    """A finished enrolment at arlo."""
    first = Consent("arlo", account, tokens(ACCESS, REFRESH), ("read", "offline_access"), {"subject": "s1"}, "paste")
    return replace(first, **changes)  # type: ignore[arg-type]


def enrol(store: Store, account: str = "acme", **changes: object) -> Grant:
    """An enrolled account's grant."""
    return store.grants.store_consent(consent(account, **changes), NOW)


def schedule(store: Store, grant: Grant, job: str = "sync", due: float = NOW) -> Due:
    """A job's row for this account, due now unless said otherwise."""
    store.schedule.ensure(job, {grant.account.id: due})
    return entry(store, grant, job)


def entry(store: Store, grant: Grant, job: str = "sync") -> Due:
    """The row as it stands."""
    found = store.schedule.entry(job, grant.account.id)
    assert found is not None
    return found


def race(count: int, act: Callable[[int], object]) -> list[object]:
    """What each of so many threads got, started as much at once as threads can be; an exception is an outcome too."""
    barrier = threading.Barrier(count)
    outcomes: list[object] = [None] * count

    def run(number: int) -> None:
        barrier.wait()
        try:
            outcomes[number] = act(number)
        except Exception as error:  # noqa: BLE001 - see the docstring
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@dataclass
class Process:
    """Another process on the same store, which does one thing and tells about it line by line."""

    process: subprocess.Popen[str]

    def line(self) -> str:
        """The next line it says; empty when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        """Let it do its next step."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Wait until it has ended; its exit code."""
        self.process.communicate(timeout=60)
        return self.process.returncode


def start_process(command: str, url: str, folder: Path, ring: Keyring, *words: str) -> Process:
    """Start `store_process.py`; the keyring goes through its standard input."""
    process = subprocess.Popen(
        [sys.executable, str(_PROCESS), command, url, str(folder), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(render_keyring(ring.keys)) + "\n")
    process.stdin.flush()
    return Process(process)


def look(store: Store, limit: int = 50) -> dict[str, Any]:
    """The quick look at this store."""
    path = store.database.path if store.database.is_sqlite else None
    return snapshot.take(store.database.url.render_as_string(hide_password=False), path, limit)
