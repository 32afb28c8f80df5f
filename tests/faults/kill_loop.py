"""Kill processes in the middle of their commits, hundreds of times, and look for what they acknowledged.

    python tests/faults/kill_loop.py [--kills 300] [--life 0.6] [--folder DIR] [--seed N]

The victims use the real store, sealed tokens and the real sink. After every SIGKILL the store is opened anew, as the
next process would, and compared with the acknowledgements: each grant stands at the generation that was acknowledged
last, or one later (committed, and killed before it could say so), its tokens open and are those of that generation;
an intent that was acknowledged is there;
the sink holds exactly the rows that its cursor says. It prints one line of figures, and ends with 1 when anything was
lost.

A kill is no power cut: what the kernel has, it writes. That everything is on the disk before it is used is what
`tests/integration/accounts/test_refresh_order.py` shows.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from kill_loop_store import INTEGRATION, NOW, SCOPES, STREAM, URL, new_tokens, read_sealer

from worker.clock import SystemClock
from worker.crypto.keyring import new_key, render_keyring
from worker.jobs.sinks.sqlite import SqliteSink
from worker.store.records import Consent
from worker.store.store import open_store

ACCOUNTS = 3


@dataclass
class Figures:
    """What came of a loop."""

    kills: int = 0
    acknowledged: int = 0
    #: Kills after which something had been committed that was not acknowledged yet, or begun and undone.
    in_the_middle: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lost = "none lost, every file sound" if not self.faults else f"{len(self.faults)} FAULTS: {self.faults[:5]}"
        return (
            f"{self.kills} kills over {self.acknowledged} acknowledged commits,"
            f" {self.in_the_middle} of them in the middle of one: {lost}"
        )


@dataclass
class Acknowledged:
    """The last that was said about each grant, and about the sink."""

    grants: dict[str, int]
    #: The generations whose refresh has begun.
    intents: dict[str, int] = field(default_factory=dict)
    sink: int = 0
    #: What victims complained of, which nobody had done anything to yet.
    faults: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Take note of one line."""
        match line.split():
            case ["grant", name, generation]:
                self.grants[name] = int(generation)
            case ["intent", name, generation]:
                self.intents[name] = int(generation)
            case ["fault", *words]:
                self.faults.append(" ".join(words))
            case ["sink", number]:
                self.sink = int(number)


def prepare(folder: Path) -> Acknowledged:
    """A store with a few accounts, each at its first generation."""
    (folder / "key").touch(mode=0o600)
    (folder / "key").write_text(render_keyring([new_key("k1")]))
    names = [f"account{number}" for number in range(ACCOUNTS)]
    store = open_store(URL.format(folder=folder), folder, read_sealer(folder), NOW)
    for name in names:
        store.grants.store_consent(Consent(INTEGRATION, name, new_tokens(name, 1), SCOPES), NOW)
    store.close()
    return Acknowledged(dict.fromkeys(names, 1))


def kill_loop(folder: Path, kills: int, life: float, seed: int, victim: Path | None = None) -> Figures:
    """Start, kill, compare, so many times. `life` is the longest a victim commits for, in seconds."""
    chance, figures, said = random.Random(seed), Figures(), prepare(folder)
    command = [sys.executable, str(victim or Path(__file__).with_name("kill_loop_victim.py")), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for number in range(1, kills + 1):
            server.stdin.write(f"{number}\n")
            server.stdin.flush()
            figures.acknowledged += _kill(server.stdout, chance.uniform(0, life), said)
            figures.kills += 1
            _compare(folder, said, figures)
        figures.faults += said.faults
        server.stdin.close()
    return figures


def _kill(lines: IO[str], life: float, said: Acknowledged) -> int:
    """Let a victim live that long; answers how many commits it acknowledged."""
    first = lines.readline().split()
    assert first[:1] == ["at"], first
    time.sleep(life)
    os.kill(int(first[1]), signal.SIGKILL)
    count = 0
    while (line := lines.readline().strip()) != "gone":
        assert line, "the victims' process has ended"
        said.hear(line)
        count += 1
    return count


def _compare(folder: Path, said: Acknowledged, figures: Figures) -> None:
    half = any(Path(f"{folder}/{name}-journal").exists() for name in ("worker.db", "data.db"))
    store = open_store(URL.format(folder=folder), folder, read_sealer(folder), NOW)
    for name, acknowledged in said.grants.items():
        grant = store.grants.read(store.accounts.get(INTEGRATION, name).id)
        if grant.generation not in {acknowledged, acknowledged + 1}:
            figures.faults.append(f"{name} is at {grant.generation}, {acknowledged} was acknowledged")
        if said.intents.get(name) == grant.generation and grant.intent_started_at is None:
            figures.faults.append(f"{name} has no intent for {grant.generation}, which was acknowledged")
        expected = new_tokens(name, grant.generation)
        found = (grant.access_token, store.grants.read_refresh_token(grant))
        if [str(secret and secret.reveal()) for secret in found] != [
            expected.access_token.reveal(),
            f"refresh-{name}-{grant.generation}",
        ]:
            figures.faults.append(f"{name} has the tokens of another generation than {grant.generation}")
        half |= grant.generation > acknowledged or grant.intent_started_at is not None
        said.grants[name] = grant.generation
    figures.faults += store.database.integrity_faults()
    store.close()
    half |= _compare_sink(folder, said, figures)
    figures.in_the_middle += half


def _compare_sink(folder: Path, said: Acknowledged, figures: Figures) -> bool:
    path = folder / "data.db"
    number = int(SqliteSink(path, SystemClock()).read_cursor(STREAM).get("number", 0))
    if number not in {said.sink, said.sink + 1}:
        figures.faults.append(f"the cursor is at {number}, {said.sink} was acknowledged")
    if path.exists():
        with closing(sqlite3.connect(path)) as raw:
            figures.faults += [row for (row,) in raw.execute("PRAGMA integrity_check") if row != "ok"]
            table = raw.execute("SELECT 1 FROM sqlite_schema WHERE name = 'rows'").fetchone()
            rows = raw.execute("SELECT count(*), max(id) FROM rows").fetchone() if table else (0, None)
        if rows != (number, number or None):
            figures.faults.append(f"the sink holds {rows} rows, its cursor says {number}")
    half, said.sink = number > said.sink, number
    return half


def main() -> int:
    """Read the arguments, run the loop, print the figures."""
    parser = argparse.ArgumentParser(description="SIGKILL in the middle of commits: is anything acknowledged lost?")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--life", type=float, default=0.6, help="seconds that a victim commits for, at most")
    parser.add_argument("--folder", type=Path, help="where the store lies meanwhile; else a temporary folder")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        began = time.monotonic()
        figures = kill_loop(Path(folder), chosen.kills, chosen.life, chosen.seed)
        print(f"{figures} (seed {chosen.seed}, {time.monotonic() - began:.0f} s)")  # noqa: T201 - its result
    return 1 if figures.faults else 0


if __name__ == "__main__":
    sys.exit(main())
