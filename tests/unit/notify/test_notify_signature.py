"""The signature of a webhook, against the example of the Standard Webhooks specification."""

from __future__ import annotations

import pytest

from worker.notify.route import NotDelivered
from worker.notify.webhook import sign
from worker.redact import Secret

#: From the reference libraries' tests (github.com/standard-webhooks/standard-webhooks).
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, MOMENT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_signature_is_that_of_the_specification() -> None:
    """Any library of the scheme can verify it."""
    assert sign(Secret(SECRET), MESSAGE, MOMENT, BODY) == SIGNATURE


def test_plain_secret_is_taken_as_its_bytes() -> None:
    """Without the prefix nothing is decoded."""
    assert sign(Secret("plain"), MESSAGE, MOMENT, BODY) != sign(Secret("plainer"), MESSAGE, MOMENT, BODY)


def test_secret_that_is_no_base64_is_refused_without_being_shown() -> None:
    """The complaint says what is wrong with it, not what it is."""
    with pytest.raises(NotDelivered, match="not base64") as caught:
        sign(Secret("whsec_???"), MESSAGE, MOMENT, BODY)
    assert "???" not in str(caught.value)
