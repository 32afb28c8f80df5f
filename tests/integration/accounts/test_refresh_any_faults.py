"""Whatever goes wrong, in whatever order: a grant that the provider has not rotated behind our back is never lost."""

from __future__ import annotations

import random

import pytest

from worker.errors import Misconfigured, NeedsConsent, TryAgainLater

#: The provider has not acted.
HARMLESS = (
    "http_500", "http_503", "http_429", "html", "reset_before", "huge", "redirect", "garbage", "unauthorized",
    "forbidden", "invalid_client",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_harmless_faults_in_any_order_lose_nothing(house, sandbox, clock, seed):
    """Refreshes, rejections, lapses and revivals between faults: no reuse, no flag, and a good end."""
    chance = random.Random(seed)
    account = house.enrol()
    for _ in range(15):
        for _ in range(chance.randrange(3)):
            sandbox.fault("token", chance.choice(HARMLESS))
        chance.choice([sandbox.expire, lambda: clock.advance(3600), lambda: None])()
        try:
            assert house.session(account).get("events/").status_code == 200
        except (TryAgainLater, Misconfigured) as error:
            clock.advance(max(getattr(error, "after", None) or 0, 1200))
    sandbox.clear_faults()
    clock.advance(7200)
    assert house.session(account).get("events/").status_code == 200
    assert (sandbox.stats()["reuse_detected"], sandbox.stats()["grants"]) == (0, {"acme": 1})
    assert (house.account().state, house.incident()) == ("active", None)


@pytest.mark.parametrize("seed", range(4))
def test_lost_answers_in_any_order_end_in_a_grant_or_in_the_truth(house, sandbox, clock, seed):
    """With lost rotations among them: the account works, or says that it was lost in rotation. Nothing else."""
    chance = random.Random(seed)
    account = house.enrol()
    sandbox.set(access_ttl=600)
    try:
        for _ in range(20):
            sandbox.fault("token", chance.choice([*HARMLESS, "reset_after", "half_body"]))
            clock.advance(600)
            try:
                house.session(account).get("events/")
            except (TryAgainLater, Misconfigured):
                clock.advance(3600)
            sandbox.clear_faults()
        clock.advance(3600)
        assert house.session(account).get("events/").status_code == 200
    except NeedsConsent:
        assert house.account().cause == "lost in rotation"
