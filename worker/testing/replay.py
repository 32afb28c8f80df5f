"""A recording behind a real `requests.Session`: each request is answered as it was when it was recorded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse

from worker.errors import Misconfigured
from worker.jobs.recording import Asked, Cassette
from worker.testing.answers import UnexpectedRequest

if TYPE_CHECKING:
    from os import PathLike

    import requests


class RecordedAdapter(BaseAdapter):
    """Answers a session's requests from a file that `worker jobs run JOB --dry-run --record FILE` has written."""

    def __init__(self, recording: str | PathLike[str]) -> None:
        """Raises Misconfigured when the file is missing or is no recording."""
        super().__init__()
        self.requests: list[requests.PreparedRequest] = []
        self._path = Path(recording)
        try:
            text = self._path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise Misconfigured(
                f"the recording {self._path} cannot be read: {reason}",
                hint=f"worker jobs run JOB --dry-run --record {self._path}",
            ) from None
        self._cassette = Cassette(text, str(self._path))
        #: What the recorded run was given.
        self.run = self._cassette.run

    def send(self, request: requests.PreparedRequest, *_args: Any, **_settings: Any) -> requests.Response:
        """Answer one request. Raises UnexpectedRequest when it was not recorded, or not so often."""
        self.requests.append(request)
        body = request.body.encode() if isinstance(request.body, str) else request.body
        asked = Asked(
            request.method or "GET",
            request.url or "",
            dict(request.headers),
            body if isinstance(body, bytes) else None,
        )
        found = self._cassette.answer(asked)
        if found is None:
            known = "".join(f"\n  {one}" for one in self._cassette.addresses) or " nothing"
            raise UnexpectedRequest(
                f"{request.method} {request.url} is not in {self._path} (any more); it has:{known}\n"
                "If the job asks otherwise than it did, record it again."
            )
        raw = HTTPResponse(
            body=io.BytesIO(found.body),
            headers=found.headers,
            status=found.status,
            reason=found.reason,
            preload_content=False,
        )
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        """Nothing is open."""
