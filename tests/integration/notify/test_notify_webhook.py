"""A webhook against a real server: signed, taken only with 2xx, never sent on."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from worker.errors import Misconfigured
from worker.notify.message import Message
from worker.notify.route import NotDelivered
from worker.notify.webhook import Webhook

MESSAGE = Message("msg_1", "test", "a title", "a text", {"type": "test", "data": {"text": "grüße"}})


def _verified(headers, body, key):
    """As a receiver does it: over the bytes that came."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(f"v1,{expected}", headers["webhook-signature"])


def test_message_arrives_signed(receiver, webhook, clock):
    """Id, time of the attempt, and a signature over both and the body."""
    webhook(receiver).way.send(MESSAGE, 20)
    ((headers, body),) = receiver.taken
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_1", str(int(clock.now())))
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert body == MESSAGE.body
    assert _verified(headers, body, base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    assert not _verified(headers, body + b" ", base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))


def test_unsigned_webhook_sends_no_signature(receiver, clock):
    """Only where the config says so."""
    Webhook(receiver.url, None, clock, "test").send(MESSAGE, 20)
    assert "webhook-signature" not in receiver.taken[0][0]


def test_webhook_says_who_sends_it(receiver, clock):
    """Like every request."""
    Webhook(receiver.url, None, clock, "acme-sync/1.0").send(MESSAGE, 20)
    assert receiver.taken[0][0]["user-agent"] == "acme-sync/1.0"


@pytest.mark.parametrize("status", [302, 307, 400, 410, 429, 500, 503])
def test_other_answers_mean_not_taken(receiver, webhook, status):
    """Only 2xx is a receipt."""
    receiver.status, receiver.headers = status, {"Location": receiver.url}
    with pytest.raises(NotDelivered, match="HTTP"):
        webhook(receiver).way.send(MESSAGE, 20)
    assert len(receiver.taken) == 1


def test_redirect_is_not_followed(receiver, receivers, webhook):
    """What was signed for one address goes to no other."""
    elsewhere = receivers()
    receiver.status, receiver.headers = 307, {"Location": elsewhere.url}
    with pytest.raises(NotDelivered, match="HTTP 307"):
        webhook(receiver).way.send(MESSAGE, 20)
    assert elsewhere.taken == []


def test_silent_server_is_left_in_time(receiver, webhook):
    """The timeout ends it."""
    receiver.open.clear()
    with pytest.raises(NotDelivered, match="no answer: ReadTimeout"):
        webhook(receiver).way.send(MESSAGE, 0.3)


def test_dead_server_is_told_without_the_address(clock):
    """An address may hold a token."""
    with pytest.raises(NotDelivered) as caught:
        Webhook("http://127.0.0.1:9/secret-path", None, clock, "test").send(MESSAGE, 5)
    assert "secret-path" not in str(caught.value)


def test_netrc_is_not_consulted(receiver, webhook, tmp_path, monkeypatch):
    """No credentials go along that nobody gave."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hunter22\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    webhook(receiver).way.send(MESSAGE, 20)
    assert "authorization" not in receiver.taken[0][0]


def test_missing_secret_is_a_failure_of_the_route(receiver, clock):
    """Nothing goes out unsigned by accident."""

    def missing():
        raise Misconfigured("the route ops has no secret to sign with")

    with pytest.raises(Misconfigured):
        Webhook(receiver.url, missing, clock, "test").send(MESSAGE, 20)
    assert receiver.taken == []
