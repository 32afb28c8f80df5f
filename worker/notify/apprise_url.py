"""Any Apprise URL: mail, chat, push. Apprise is loaded with the first message; it takes a third of a second."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from worker.notify.route import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.notify.message import Message
    from worker.redact import Scrubber, Secret

#: Tokens may stand anywhere in such a URL. What is shorter, a plain word, the name of a host or a number is taken for
#: none, unless it is a password: it would be masked all over the log.
_SHORTEST_PART = 8
_PLAIN = re.compile(r"[a-z]{1,15}|[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,15}|[0-9.]+")
_PASSWORD = re.compile(r"://[^:/@]*:([^/@]+)@")
_SHOWN_ERROR = 200


class AppriseUrl:
    """One URL. It is fetched at every message: the file that holds it may have been changed."""

    def __init__(self, url: Callable[[], Secret], scrubber: Scrubber) -> None:
        self._url = url
        self._scrubber = scrubber

    def send(self, message: Message, timeout: float) -> None:  # noqa: ARG002 - each of its services has its own
        """See Way. Apprise has timeouts of its own (4 s unless the URL says otherwise), and tells success by a bool."""
        import apprise  # noqa: PLC0415 - start-up time

        url = self._url()
        self._scrubber.learn(url, *_secret_parts(url.reveal()))
        asset = apprise.AppriseAsset(app_id="headless-worker", app_desc="headless-worker", async_mode=False)
        service = apprise.Apprise(asset=asset)
        with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as captured:  # type: ignore[no-untyped-call]
            if not service.add(url.reveal()):
                raise NotDelivered("Apprise does not know this kind of URL, or finds a fault in it")
            taken = service.notify(body=message.text, title=message.title, body_format=apprise.NotifyFormat.TEXT)
            said = captured.getvalue()
        if not taken:
            raise NotDelivered(self._scrubber(f"Apprise could not send it{_last(said)}"))


def _secret_parts(url: str) -> list[str]:
    """What may be secret in a URL, as it stands there and as Apprise reads it."""
    parts = [part for part in re.split(r"[:/?&=@]+", url) if len(part) >= _SHORTEST_PART]
    parts = [*_PASSWORD.findall(url), *(part for part in parts if not _PLAIN.fullmatch(part))]
    return parts + [unquote(part) for part in parts]


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f": {lines[-1][-_SHOWN_ERROR:]}" if lines else ""
