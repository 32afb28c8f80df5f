"""A webhook: one POST of the document as JSON, signed by the Standard Webhooks scheme (standardwebhooks.com, 1.0.0).

    webhook-id         the message's id, the same when it is sent again
    webhook-timestamp  seconds since the epoch, of this attempt
    webhook-signature  v1, and the base64 of HMAC-SHA256 over `id.timestamp.body`

The receiver computes the same over the bytes it got, compares in constant time, and refuses old timestamps.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

from worker.accounts.netrc import given_only
from worker.notify.route import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.clock import Clock
    from worker.notify.message import Message
    from worker.redact import Secret

#: A secret with this in front is base64, as the scheme writes them; any other is taken as its UTF-8 bytes.
_PREFIX = "whsec_"
_SUCCESSES = range(200, 300)


class Webhook:
    """One address. `secret` is asked for at every message: it may have been changed; None sends unsigned."""

    def __init__(self, url: str, secret: Callable[[], Secret] | None, clock: Clock, user_agent: str) -> None:
        self._url = url
        self._secret = secret
        self._clock = clock
        self._user_agent = user_agent

    def send(self, message: Message, timeout: float) -> None:
        """See Way. Any status but 2xx counts as not taken; a redirect is not followed."""
        import requests  # noqa: PLC0415 - start-up time

        headers = self._headers(message)
        try:
            with requests.Session() as session:
                # Proxies and certificates as the environment says, but no credentials out of ~/.netrc.
                session.auth = given_only
                answer = session.post(
                    self._url, message.body, headers=headers, timeout=timeout, allow_redirects=False, stream=True
                )
                answer.close()
        except (requests.RequestException, ValueError) as error:  # ValueError: an address that urllib3 cannot read
            raise NotDelivered(f"no answer: {type(error).__name__}") from None
        if answer.status_code not in _SUCCESSES:
            raise NotDelivered(f"HTTP {answer.status_code}")

    def _headers(self, message: Message) -> dict[str, str]:
        moment = str(int(self._clock.now()))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": self._user_agent,
            "webhook-id": message.id,
            "webhook-timestamp": moment,
        }
        if self._secret is not None:
            headers["webhook-signature"] = sign(self._secret(), message.id, moment, message.body)
        return headers


def sign(secret: Secret, message_id: str, moment: str, body: bytes) -> str:
    """The signature of one message. Raises NotDelivered when the secret is `whsec_` and no base64."""
    digest = hmac.new(_key(secret), f"{message_id}.{moment}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: Secret) -> bytes:
    text = secret.reveal()
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise NotDelivered(f"the signing secret begins with {_PREFIX} and is not base64") from None
