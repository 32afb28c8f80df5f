"""An Apprise URL, with Apprise itself, against a local server."""

from __future__ import annotations

import pytest

from worker.notify.apprise_url import AppriseUrl
from worker.notify.message import Message
from worker.notify.route import NotDelivered
from worker.redact import Secret

# Apprise's plugins load libraries that other libraries have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MESSAGE = Message("msg_1", "test", "a title", "a text", {})


def test_apprise_url_delivers_title_and_text(receiver, scrubber):
    """`json://` posts them."""
    AppriseUrl(lambda: Secret(receiver.url.replace("http", "json")), scrubber).send(MESSAGE, 20)
    (document,) = receiver.documents
    assert (document["title"], document["message"]) == ("a title", "a text")


def test_failed_delivery_names_no_part_of_the_url(receiver, scrubber):
    """It may hold tokens in any place."""
    receiver.status = 500
    url = receiver.url.replace("http://", "json://operator:hunter22@").replace("hook", "a-token-in-the-path")
    with pytest.raises(NotDelivered) as caught:
        AppriseUrl(lambda: Secret(url), scrubber).send(MESSAGE, 20)
    assert "hunter22" not in str(caught.value)
    assert "a-token-in-the-path" not in str(caught.value)


def test_password_is_masked_and_the_host_is_not(scrubber):
    """Masked everywhere, the host would be missing from links and routes that have nothing to do with it."""
    address = "nonsense://operator:swordfish@mail.example.org/a%40b-token?format=markdown"
    with pytest.raises(NotDelivered):
        AppriseUrl(lambda: Secret(address), scrubber).send(MESSAGE, 20)
    told = scrubber("swordfish a%40b-token a@b-token https://worker.mail.example.org/link in markdown")
    assert told == "[redacted] [redacted] [redacted] https://worker.mail.example.org/link in markdown"


def test_unknown_kind_of_url_is_told(scrubber):
    """Apprise has no such service."""
    with pytest.raises(NotDelivered, match="does not know this kind of URL"):
        AppriseUrl(lambda: Secret("nonsense://somewhere"), scrubber).send(MESSAGE, 20)
