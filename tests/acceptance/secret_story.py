"""The main job at the top of its voice: everything logged, everything that can fail failing, every command called.

Answers where any secret was found that existed meanwhile. Nothing else may be learnt from what was written.
"""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

from wiretap import Wiretap
from workplace import COMMAND, REDIRECT_URI, REPOSITORY, Workplace, wait_until

from worker.sandbox import Sandbox, SandboxConfig, give_consent

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT_ID = "client:with/odd chars"
CLIENT_SECRET = "Tr0ub4dor&3/odd+s%cret:~ of the client"
LITERAL_SECRET = "written into the config, against all advice"
#: Who consents. The account is called otherwise, so that the name stands only where identity is kept.
SUBJECT = "subject-of-"

#: What a careless author writes.
LOUD_JOB = '''\
from worker import Context, job


@job()
def shout(ctx: Context) -> None:
    """Tell everybody what was sent."""
    response = ctx.session.get("events", params={"top": 1})
    header = response.request.headers["Authorization"]
    ctx.log.warning("sent with %s", response.request.headers)
    ctx.log.warning("token", extra={"what": header.split()[1], "all": {"nested": [header]}})
    ctx.emit("noise", [{"id": 1, "status": response.status_code}], key="id")
    ctx.checkpoint(at=1)
    try:
        raise KeyError(header)
    except KeyError as error:
        raise RuntimeError(f"{header.split()[1]} did not work") from error
'''

CONFIG = """
[integrations.api]
client_id = "{client_id}"
authorize_url = "{sandbox.authorize_url}"
token_url = "{tap}/oauth/connect/token"
revoke_url = "{tap}/oauth/connect/revocation"
identity_url = "{sandbox.identity_url}"
api_base = "{sandbox.api_base}"
scopes = ["openid", "profile", "offline_access", "read", "all_claims"]
redirect_uri = "{redirect_uri}"
headers = {{ Accept = "application/xml" }}
read_timeout = "2s"

[integrations.literal]
client_id = "literal"
client_secret = "{literal}"
token_url = "https://provider.invalid/token"

[jobs.events]
uses = "arlo.events"
integration = "api"
every = "2s"
sink = "local"

[jobs.registrations]
uses = "arlo.registrations"
integration = "api"
every = "2s"
sink = "files"

[jobs.shout]
uses = "loud.shout"
integration = "api"
every = "2s"
sink = "local"

[sinks.files]
type = "jsonl"
path = "state/rows"
"""

#: An account for each thing that can go wrong at the token endpoint.
TOKEN_FAULTS = ("html", "garbage", "http_500", "half_body", "reset_after", "huge")
API_FAULTS = ("forbidden", "garbage", "http_503", "redirect", "expired_token", "insufficient_scope")

COMMANDS = (
    ("status",),
    ("config", "check"),
    ("config", "show"),
    ("config", "example"),
    ("accounts", "list"),
    ("accounts", "show", "api", "html"),
    ("accounts", "show", "api/revoked"),
    ("accounts", "why", "api", "html"),
    ("accounts", "why", "api", "half_body"),
    ("accounts", "why", "api", "revoked"),
    ("runs", "list", "--limit", "500"),
    ("secrets", "list"),
    ("jobs", "list"),
    ("jobs", "run", "shout", "--account", "html"),
    ("jobs", "run", "shout", "--account", "garbage", "--dry-run"),
    ("keys", "list"),
    ("keys", "verify"),
    ("store", "check"),
    ("accounts", "revoke", "api", "html", "--yes"),
    ("accounts", "remove", "api", "garbage", "--yes"),
)


@dataclass
class Gleaner:
    """Reads what is on the disk for a moment only: journals and temporary files."""

    folder: Path
    found: dict[str, set[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._glean, daemon=True)

    def _glean(self) -> None:
        while not self._stop.wait(0.005):
            for path in self.folder.glob("state/**/*"):
                if path.name.endswith(("-journal", "-wal", "-shm")) or ".tmp" in path.name:
                    try:
                        self.found.setdefault(path.name, set()).add(path.read_bytes())
                    except OSError:
                        continue

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def play(folder: Path, place: Workplace) -> dict[str, Any]:
    """The whole story; answers what was searched for, where, and what was found."""
    config = SandboxConfig(
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET, access_ttl=2, claimed_ttl=4, rate_limit=0, grace=60
    )
    with Sandbox(config) as sandbox, Wiretap(sandbox.base_url) as tap, Gleaner(place.folder) as gleaner:
        place.configure(
            CONFIG.format(
                client_id=CLIENT_ID,
                sandbox=sandbox,
                tap=tap.base_url,
                redirect_uri=REDIRECT_URI,
                literal=LITERAL_SECRET,
            )
        )
        place.add_job("arlo.py", (REPOSITORY / "jobs" / "arlo.py").read_text())
        place.add_job("loud.py", LOUD_JOB)
        place.always = ("--verbose",)
        place("secrets", "set", "api", given=f"{CLIENT_SECRET}\n")
        states = set(_enrol(place))
        log = _fail(sandbox, place)
        for command in COMMANDS:
            place(*command, expect=None)
            place(*command, "--json", expect=None)
        screen = on_terminal(place, "jobs", "run", "shout", "--account", "huge")
        _misuse(place, sandbox)
        keeper = sandbox._state.tokens
        secrets = {**tap.secrets, "state and nonce": states, "client secret": {CLIENT_SECRET, LITERAL_SECRET}}
        secrets["issued"] = {*keeper._access, *keeper._refresh, *keeper._codes}
        secrets["master key"] = set(_master_keys(place))
    hay = {"terminal": screen, **dict(_hay(place, log, gleaner))}
    return {
        "secrets": {kind: len(values) for kind, values in secrets.items()},
        "searched": sorted(hay),
        "found": _search(hay, secrets),
        "subjects": sorted(name for name, content in hay.items() if _is_kept(name) and SUBJECT.encode() in content),
        "loggers": sorted({json.loads(line)["logger"] for line in log.read_text().splitlines()}),
        "masked": [name for name, content in hay.items() if b"[redacted] did not work" in content],
        "messages": sorted({json.loads(line)["message"] for line in log.read_text().splitlines()}),
        "modes": {str(path.relative_to(place.folder)): oct(path.stat().st_mode & 0o777) for path in _state(place)},
    }


def _enrol(place: Workplace) -> Iterator[str]:
    """Enrol one account for each fault, and fail to; yields the states and nonces."""
    for name in (*TOKEN_FAULTS, "revoked", "calm"):
        done = place.paste(name, lambda url, name=name: give_consent(url, f"{SUBJECT}{name}"))
        query = parse_qs(urlsplit(done.out.splitlines()[0]).query)
        yield from (query["state"][0], query["nonce"][0])
    wrong = place.paste("nobody", lambda url: give_consent(url, "nobody", allow=False), expect=1)
    yield parse_qs(urlsplit(wrong.out.splitlines()[0]).query)["state"][0]
    place.paste("nobody", lambda url: give_consent(url, "nobody").replace("code=", "code=0"), expect=1)
    place.paste("calm", lambda url: give_consent(url, f"{SUBJECT}somebody-else"), expect=1)


def _fail(sandbox: Sandbox, place: Workplace) -> Path:
    """The daemon, while everything goes wrong; answers its log."""
    for kind in TOKEN_FAULTS:
        sandbox.fault("token", kind, times=2, user=f"{SUBJECT}{kind}", grant_type="refresh_token")
    with place.daemon() as daemon:
        wait_until(lambda: sandbox.stats()["refreshes"].get(f"{SUBJECT}calm"), "the first refresh")
        arguments = Path(f"/proc/{daemon._process.pid}/cmdline").read_bytes()
        place.folder.joinpath("cmdline").write_bytes(arguments)
        for kind in API_FAULTS:
            sandbox.fault("api", kind, user=f"{SUBJECT}calm")
        sandbox.revoke(f"{SUBJECT}revoked")
        place.wait_for_run("revoked", lambda run: run["state"] == "skipped", "a skipped run")
        wait_until(
            lambda: all(sandbox.stats()["refreshes"].get(f"{SUBJECT}{kind}") for kind in TOKEN_FAULTS),
            "every account to get over its fault",
        )
        place.paste("revoked", lambda url: give_consent(url, f"{SUBJECT}revoked"))
        daemon.stop()
    return daemon.log


def _misuse(place: Workplace, sandbox: Sandbox) -> None:
    """Secrets where they do not belong, and a client that the provider refuses."""
    sandbox.fault("token", "invalid_client", grant_type="refresh_token")
    sandbox.expire()
    place("jobs", "run", "events", "--account", "http_500", expect=78)
    place("status", expect=None)
    place("status", "--json", expect=None)
    token = sandbox.grant("mover")["refresh_token"]
    sandbox.revoke("mover")
    place("enroll", "api", "moved", "--import-token", given=f"{token}\n", expect=None)
    place("secrets", "set", "api", "another", given=f"{CLIENT_SECRET}\n", expect=2)
    key = place.folder / "worker.key"
    good = key.read_text()
    try:
        key.write_text(good[:-40] + "\n")
        place("accounts", "list", expect=78)
        place("accounts", "list", "--json", expect=78)
    finally:
        key.write_text(good)


def on_terminal(place: Workplace, *arguments: str) -> bytes:
    """What a command shows on a terminal, wide enough that nothing is wrapped."""
    ours, its = pty.openpty()
    wide = {"TERM": "xterm", "COLUMNS": "20000"}
    command = [COMMAND, *place.always, *arguments]
    environment = place.environment | wide
    with subprocess.Popen(command, cwd=place.folder, env=environment, stdin=its, stdout=its, stderr=its):
        os.close(its)
        shown = b""
        with suppress(OSError):  # how a terminal says that nobody writes to it any more
            while piece := os.read(ours, 65536):
                shown += piece
    os.close(ours)
    return shown


def _master_keys(place: Workplace) -> Iterator[str]:
    """The keys as the keyring file spells them."""
    for line in (place.folder / "worker.key").read_text().splitlines():
        yield from (word.strip("\"',") for word in line.split() if len(word.strip("\"',")) >= 40)


def _state(place: Workplace) -> Iterator[Path]:
    return (path for path in sorted(place.folder.glob("state/**/*")) if path.is_file())


def _hay(place: Workplace, log: Path, gleaner: Gleaner) -> Iterator[tuple[str, bytes]]:
    """Everything that was ever written, by a name."""
    yield "daemon log", log.read_bytes()
    yield "arguments of the daemon", place.folder.joinpath("cmdline").read_bytes()
    for number, done in enumerate(place.history):
        called = f"{number} {' '.join(done.arguments)}"
        out = done.out
        if "--paste" in done.arguments:
            # The authorization URL has to show the state: it is what the operator opens.
            out = "\n".join(line for line in out.splitlines() if not line.startswith("http"))
        yield f"stdout of {called}", out.encode()
        yield f"stderr of {called}", done.err.encode()
    for path in _state(place):
        yield f"file {path.relative_to(place.folder)}", path.read_bytes()
    for name, contents in gleaner.found.items():
        yield f"moment of {name}", b"\0".join(contents)


def _is_kept(name: str) -> bool:
    return name.startswith(("file", "moment", "daemon"))


def spellings(secret: str) -> set[str]:
    """How a secret may be written: plain, URL-encoded, JSON-escaped, in base64."""
    plain = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    joined = {f"{CLIENT_ID}:{secret}", f"{quote_plus(CLIENT_ID)}:{quote_plus(secret)}"}
    encoded = {base64.b64encode(text.encode()).decode().rstrip("=") for text in plain | joined}
    return plain | encoded | {base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") for text in plain}


def _search(hay: dict[str, bytes], secrets: dict[str, set[str]]) -> list[str]:
    found = []
    for kind, values in secrets.items():
        needles = [spelling.encode() for value in values for spelling in spellings(value)]
        if kind == "master key":
            needles += [base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)) for value in values]
        for name, content in hay.items():
            place = next((content.index(needle) for needle in needles if needle in content), None)
            if place is not None:
                around = content[max(place - 80, 0) : place + 20]
                found.append(f"{kind} in {name}: …{around!r}")
    return found
