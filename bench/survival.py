"""What is left of a grant after a crash or a lost answer, on a server that rotates and kills the grant on reuse."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import house
from measure import Effort, Result
from stampede import Trials, answers, order, sandbox

CLIENTS = {
    "headless-worker": "ours",
    "google-auth": "google-auth",
    "Authlib + 401 retry by hand": "Authlib",
    "requests-oauthlib + 401 retry by hand": "requests-oauthlib",
}
#: What happens, where the process dies, what the provider does to the answer.
FAULTS = {
    "crash, answer not stored": ("before", ""),
    "crash while storing": ("within", ""),
    "answer lost on the way": ("", "reset_after"),
    "answer breaks off": ("", "half_body"),
    "reset, server has not acted": ("", "reset_before"),
}
GRACE = 60.0
METHOD = """\
A token that the server has let die early; the refresh meets the fault once; then a fresh process starts from what was
stored and tries up to twice, 2.6 s apart. `worker.sandbox`, rotating refresh tokens, reuse kills the grant
(RFC 9700); "grace": a spent refresh token gets the same answer once more for {grace:.0f} s. Peers store their tokens as
their documentation shows (a JSON file, opened for writing). {trials} trials each: how many go on without a human, and
the refresh calls that the server counted in all.
"""


class Survivals(Trials):
    """One provider, one store, any number of crashes."""

    def one(self, processes, die: str, spoil: str):
        """A fresh grant, one fault, a restart: refresh calls, how the restart ended."""
        self.number += 1
        user = f"user{self.number}"
        issued = self.control.grant(user)
        account = house.enrol(self.wiring, user, issued["access_token"], issued["refresh_token"])
        file = self.folder / f"{user}.json"
        client = {"client_id": house.CLIENT_ID, "client_secret": house.CLIENT_SECRET}
        tokens = {name: issued[name] for name in ("access_token", "refresh_token")}
        file.write_text(json.dumps({**tokens, **client, "token_url": self.provider["token_url"]}))
        self.control.expire(user)
        self.control.reset_stats()
        if spoil:
            self.control.fault("token", spoil, user=user)
        url = f"{self.provider['api_base']}events/"
        order(processes, {"grant": str(file), "account": account, "url": url, "die": die, "tries": 1})
        first = answers(processes)[0]
        assert not die or first == "killed", first
        order(processes, {"grant": str(file), "account": account, "url": url, "die": "", "tries": 2})
        ended = answers(processes)[0]
        self.control.clear_faults()
        return sum(self.control.stats()["token_calls"].get("refresh_token", {}).values()), ended


def client(word: str, config: Path, stack: ExitStack):
    command = [sys.executable, str(Path(__file__).with_name("survival_client.py")), word, str(config)]
    process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    stack.callback(process.stdin.close)
    answers([process])
    return [process]


def trials_of(name: str, word: str, trials: int):
    """All trials of one client, with a provider of its own."""
    served, calls, ended = Counter(), Counter(), defaultdict(set)
    with tempfile.TemporaryDirectory() as folder, sandbox() as provider, ExitStack() as stack:
        plan = Survivals(Path(folder), provider)
        process = client(word, plan.config, stack)
        for grace in (0.0, GRACE):
            plan.control.set(grace=grace)
            for _ in range(trials):
                for fault, (die, spoil) in FAULTS.items():
                    count, outcome = plan.one(process, die, spoil)
                    served[fault, grace] += outcome == "served"
                    calls[fault, grace] += count
                    ended[fault] |= {outcome} - {"served"}
        plan.wiring.store.close()
    return {
        fault: {
            "fault": fault,
            "client": name,
            "goes on": f"{served[fault, 0.0]} of {trials}",
            "goes on, grace": f"{served[fault, GRACE]} of {trials}",
            "refresh calls": f"{calls[fault, 0.0]}, {calls[fault, GRACE]}",
            "else": ", ".join(sorted(ended[fault])) or "-",
        }
        for fault in FAULTS
    }


def run(effort: Effort) -> list[Result]:
    trials = effort.pick(5, 1)
    # Side by side: most of the time is spent waiting.
    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        tables = list(pool.map(lambda item: trials_of(*item, trials), CLIENTS.items()))
    result = Result("survival", "Survival: one fault in a refresh", METHOD.format(grace=GRACE, trials=trials))
    result.rows += [rows[fault] for fault in FAULTS for rows in tables]
    return [result]
