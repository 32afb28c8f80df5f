"""A dead token, met by many threads of many processes at once, on a server that kills the grant on reuse."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path

import house
from measure import Effort, Result, quartiles
from stampede_client import THREADS

from worker.sandbox import SandboxControl

PROCESSES = 4
CLIENTS = {
    "headless-worker, one session a process": "ours, shared",
    "headless-worker, one session a thread": "ours, each",
    "google-auth": "google-auth",
    "Authlib + 401 retry by hand": "Authlib + retry",
    "requests-oauthlib + 401 retry by hand": "requests-oauthlib + retry",
    "Authlib as it is": "Authlib",
    "requests-oauthlib as it is": "requests-oauthlib",
}
#: Each client costs four processes to start.
QUICK = ("ours, shared", "google-auth", "Authlib + retry", "requests-oauthlib + retry")
METHOD = """\
{processes} processes of {threads} threads each make one request with a token that the server has let die early, on
`worker.sandbox`: rotating refresh tokens, reuse kills the grant (RFC 9700), token endpoint 30 ms, API 5 ms. {trials}
trials, clients in random order. Peers share one session in a process and start from one token file. Refresh calls are
counted by the server: median [lowest-highest]. Callers served: of {callers}.
"""


@contextmanager
def sandbox():
    """The provider, in a process of its own: its READY document."""
    settings = ["--client-id", house.CLIENT_ID, "--client-secret", house.CLIENT_SECRET, "--rows", "1"]
    settings += ["--rate-limit", "0", "--set", "token_delay=0.03", "--set", "api_delay=0.005"]
    command = [sys.executable, "-m", "worker.sandbox", *settings, "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline().partition(" ")[2])
        finally:
            process.stdin.close()
            process.wait(10)


@contextmanager
def crew(client: str, config: Path):
    """The client's processes, ready for orders."""
    command = [sys.executable, str(Path(__file__).with_name("stampede_client.py")), client, str(config)]
    with ExitStack() as stack:
        processes = []
        for _ in range(PROCESSES):
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.stdin.close)
            processes.append(process)
        answers(processes)
        yield processes


def order(processes, words) -> None:
    for process in processes:
        process.stdin.write(json.dumps(words) + "\n")
        process.stdin.flush()


def answers(processes):
    return [json.loads(process.stdout.readline()) for process in processes]


class Trials:
    """One provider, one store, any number of stampedes."""

    def __init__(self, folder: Path, provider):
        self.provider = provider
        self.control = SandboxControl(provider["base_url"], provider["control_token"])
        self.config = house.furnish(folder, provider["base_url"], provider["api_base"])
        self.wiring = house.wire(self.config)
        self.folder = folder
        self.number = 0

    def one(self, processes):
        """A fresh grant, a stampede: refresh calls, callers served, whether the grant lives."""
        self.number += 1
        user = f"user{self.number}"
        issued = self.control.grant(user)
        account = house.enrol(self.wiring, user, issued["access_token"], issued["refresh_token"])
        file = self.folder / f"{user}.json"
        file.write_text(
            json.dumps(
                {
                    "access_token": issued["access_token"],
                    "refresh_token": issued["refresh_token"],
                    "token_url": self.provider["token_url"],
                    "client_id": house.CLIENT_ID,
                    "client_secret": house.CLIENT_SECRET,
                }
            )
        )
        self.control.reset_stats()
        order(processes, {"grant": str(file), "account": account, "url": f"{self.provider['api_base']}events/"})
        answers(processes)
        self.control.expire(user)
        order(processes, "go")
        outcomes = sum((Counter(one) for one in answers(processes)), Counter())
        stats = self.control.stats()
        calls = sum(stats["token_calls"].get("refresh_token", {}).values())
        return calls, outcomes, bool(stats["grants"].get(user))


def run(effort: Effort) -> list[Result]:
    trials = effort.pick(10, 1)
    calls, served, alive = defaultdict(list), defaultdict(list), Counter()
    outcomes = defaultdict(Counter)
    chosen = [(name, word) for name, word in CLIENTS.items() if not effort.quick or word in QUICK]
    with tempfile.TemporaryDirectory() as folder, sandbox() as provider:
        plan = Trials(Path(folder), provider)
        # Started once for all trials; a client's processes only wait for orders while others have their turn.
        with ExitStack() as stack:
            crews = {name: stack.enter_context(crew(word, plan.config)) for name, word in chosen}
            for _ in range(trials):
                for name in random.sample(list(crews), len(crews)):
                    count, ended, lives = plan.one(crews[name])
                    calls[name].append(count)
                    served[name].append(ended["200"])
                    outcomes[name] += ended
                    alive[name] += lives
        plan.wiring.store.close()
    callers = PROCESSES * THREADS
    method = METHOD.format(processes=PROCESSES, threads=THREADS, trials=trials, callers=callers)
    result = Result("stampede", f"Stampede: {callers} callers meet a dead token", method)
    for name, _ in chosen:
        result.rows.append(
            {
                "client": name,
                "refresh calls": f"{quartiles(calls[name]).median:.0f} [{min(calls[name])}-{max(calls[name])}]",
                "grants alive": f"{alive[name]} of {trials}",
                "callers served": f"{quartiles(served[name]).median:.0f} [{min(served[name])}-{max(served[name])}]",
                "failed with": ", ".join(word for word in sorted(outcomes[name]) if word != "200") or "-",
            }
        )
    return [result]
