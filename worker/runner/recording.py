"""What a run asked and was answered, kept for a test: the answers as the job gets them, hop by hop.

A rejected token, the refresh after it and a wait that the API asked for are the session's business; the job does not
see them, and neither does the recording. The token endpoint is not asked through the session at all.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from worker.accounts.bounded import load
from worker.errors import UsageFault
from worker.jobs.recording import Answered, Asked, Recording, render, require_vcrpy
from worker.redact import Scrubber

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import requests

    from worker.config.model import Integration

#: Parts of a header's name that say that its value is a credential.
_TELLING = ("key", "token", "secret", "auth", "password", "cookie")
#: Cookies whose values are looked for in bodies: half of what a scrubber keeps in mind, so that a new cookie with each
#: answer does not push the tokens out. In headers all are masked.
_COOKIES = Scrubber.LIMIT // 2


class Recorder:
    """Keeps exchanges until they are written. Threads of a job may share it."""

    def __init__(self, path: Path, integration: Integration, scrubber: Scrubber) -> None:
        """Raises UsageFault when the file is there already, or its folder is not; Misconfigured without vcrpy."""
        require_vcrpy()
        if path.exists():
            raise UsageFault(f"{path} exists already; a recording is not overwritten", hint=f"rm {path}")
        if not path.parent.is_dir():
            raise UsageFault(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")
        self._path = path
        self._integration = integration
        self._scrubber = scrubber
        self._lock = threading.Lock()
        self._exchanges: list[tuple[Asked, Answered]] = []
        self._cookies: set[str | None] = set()
        for name, value in integration.headers.items():
            if any(part in name.lower() for part in _TELLING):
                scrubber.learn(value)

    def __len__(self) -> int:
        return len(self._exchanges)

    def hear(self, response: requests.Response) -> None:
        """Keep an answer and its request. Reads the body, also of an answer that is to be streamed."""
        load(response, self._integration.largest_answer << 20)
        request = response.request
        for cookie in response.cookies:
            if cookie.value not in self._cookies and len(self._cookies) < _COOKIES:
                self._cookies.add(cookie.value)
                self._scrubber.learn(cookie.value)
        body = request.body.encode() if isinstance(request.body, str) else request.body
        asked = Asked(
            request.method or "GET",
            request.url or "",
            dict(request.headers),
            body if isinstance(body, bytes) else None,
        )
        answered = Answered(response.status_code, response.reason or "", dict(response.headers), response.content)
        with self._lock:
            self._exchanges.append((asked, answered))

    def save(self, run: Mapping[str, Any]) -> None:
        """Write the file, for this user alone. Raises Misconfigured (vcrpy is missing), WorkerError, UsageFault."""
        text = render(Recording(self._exchanges, run), self._scrubber)
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise UsageFault(f"{self._path} cannot be written: {error.strerror}") from None
