"""The authorization server of all trials: the sandbox in a process of its own, and its counters as facts.

Each trial has a user of its own, so trials do not see each other. What the oracle believes stands here: what the
provider has granted, what it has caught, whose family of tokens is alive, and whether a token is the living one.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from worker.sandbox.control_client import SandboxControl

if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPES = ("openid", "profile", "offline_access", "read", "all_claims")
REDIRECT = "http://127.0.0.1:8765/callback"
#: Seconds for which a request that was sent is waited for; it is counted in a few milliseconds.
_SETTLE = 2.0
#: An access token outlives every trial, unless it is made to die.
_ACCESS_TTL = 86400.0


@dataclass(frozen=True)
class Counted:
    """What the provider has counted of one user, so far."""

    #: Refreshes that were granted, spent tokens that came back, and those that a grace period answered.
    granted: int
    reused: int
    repeated: int
    #: Codes that were redeemed, and all calls of the token endpoint.
    redeemed: int
    calls: int
    #: Grants of the user that are good, the earlier one included.
    alive: int


def earlier(user: str) -> str:
    """The name under which a user's earlier grant is kept, where it has to end alone."""
    return f"{user}-earlier"


class Provider:
    """A running sandbox. Ends with this process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "worker.sandbox", "--with-parent", "--rows", "6", "--rate-limit", "0"]
        command += ["--access-ttl", str(_ACCESS_TTL), "--redirect-uri", REDIRECT]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        self.addresses: dict[str, str] = json.loads(ready.removeprefix("READY "))
        self.control = SandboxControl(self.addresses["base_url"], self.addresses["control_token"])

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def quiet(self, *, grace: float = 0.0) -> None:
        """No fault is planned; a spent token is answered for so many seconds."""
        self.control.clear_faults()
        self.control.set(grace=grace)

    def count(self, user: str) -> Counted:
        """The counters now. Those without a user are the provider's as a whole: take the difference."""
        stats = self.control.stats()
        return Counted(
            granted=stats["refreshes"].get(user, 0),
            reused=stats["reuse_detected"],
            repeated=stats["grace_repeats"],
            redeemed=stats["token_calls"].get("authorization_code", {}).get("granted", 0),
            calls=stats["token_calls_total"],
            alive=stats["grants"].get(user, 0) + stats["grants"].get(earlier(user), 0),
        )

    def settle(self, before: Counted, user: str, *, calls: int) -> None:
        """Wait until the provider has dealt with the calls that were sent to it."""
        deadline = time.monotonic() + _SETTLE
        while self.count(user).calls < before.calls + calls and time.monotonic() < deadline:
            time.sleep(0.005)

    def takes(self, refresh_token: str) -> bool:
        """Whether a refresh token is the living one. Finds out by spending it, so ask last."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        form |= {"client_id": self.addresses["client_id"], "client_secret": self.addresses["client_secret"]}
        status, _ = self._post(self.addresses["token_url"], form)
        return status == http.client.OK

    def _post(self, url: str, form: Mapping[str, str]) -> tuple[int, Any]:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", parts.path, urlencode(form), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
