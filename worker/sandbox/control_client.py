"""The control operations from another process."""

from __future__ import annotations

import http.client
import json
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from worker.sandbox.control import PREFIX
from worker.sandbox.control_methods import ControlMethods
from worker.sandbox.settings import BadControl

#: Seconds; control operations answer at once.
TIMEOUT = 30.0


class SandboxControl(ControlMethods):
    """Control of a sandbox that runs elsewhere; address and token stand in its READY line."""

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._netloc = urlsplit(base_url).netloc
        self._token = token

    def __repr__(self) -> str:
        return f"SandboxControl({self.base_url!r})"

    def call(self, operation: str, **arguments: object) -> dict[str, Any]:
        """One request on a connection of its own; `BadControl` with the sandbox's message, `OSError` if it is gone."""
        connection = http.client.HTTPConnection(self._netloc, timeout=TIMEOUT)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            connection.request("POST", f"{PREFIX}{operation}", json.dumps(arguments), headers)
            answer = connection.getresponse()
            document: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise BadControl(str(document.get("error", answer.status)))
        return document
