"""The integration's rate limit."""

from __future__ import annotations

import threading

from worker.config.model import RateLimit
from worker.runner.rate import RateLimiter


def granted(limiter: RateLimiter, account: str, tries: int) -> int:
    return sum(limiter.acquire(account, 0.0) for _ in range(tries))


def test_rate_limit_lets_so_many_through_and_no_more():
    """Three an hour."""
    assert granted(RateLimiter(RateLimit(3, 3600.0, "integration")), "acme", 10) == 3


def test_rate_limit_of_an_integration_is_shared_by_its_accounts():
    """What one account used is gone for the other."""
    limiter = RateLimiter(RateLimit(3, 3600.0, "integration"))
    granted(limiter, "acme", 3)
    assert granted(limiter, "globex", 3) == 0


def test_rate_limit_per_account_is_each_accounts_own():
    """One account's appetite does not starve the other."""
    limiter = RateLimiter(RateLimit(3, 3600.0, "account"))
    granted(limiter, "acme", 3)
    assert granted(limiter, "globex", 5) == 3


def test_rate_limit_holds_for_threads_that_come_at_once():
    """Eight threads that meet a fresh limiter share one count, not one each."""
    limiter = RateLimiter(RateLimit(5, 3600.0, "account"))
    barrier, lock, total = threading.Barrier(8), threading.Lock(), 0

    def ask():
        nonlocal total
        barrier.wait(30)
        got = granted(limiter, "acme", 5)
        with lock:
            total += got

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert total == 5


def test_rate_limit_opens_again_with_the_next_window():
    """Waiting is enough."""
    limiter = RateLimiter(RateLimit(1, 0.1, "integration"))
    limiter.acquire("acme", 0.0)
    assert limiter.acquire("acme", 30.0)


def test_rate_limit_gives_up_when_patience_ends():
    """No leave within that time: no."""
    limiter = RateLimiter(RateLimit(1, 3600.0, "integration"))
    limiter.acquire("acme", 0.0)
    assert not limiter.acquire("acme", 0.05)


def test_rate_limits_of_many_accounts_take_no_threads():
    """A limit per account, a hundred accounts: as many threads as before."""
    before = threading.active_count()
    limiter = RateLimiter(RateLimit(3, 3600.0, "account"))
    for number in range(100):
        limiter.acquire(f"account{number}", 0.0)
    assert threading.active_count() == before


def test_rate_limit_forgets_what_lies_before_the_window():
    """A limiter that lives for months does not grow with every request."""
    limiter = RateLimiter(RateLimit(5, 0.02, "integration"))
    for _ in range(30):
        assert limiter.acquire("acme", 30.0)
    (window,) = limiter._windows.values()
    assert window._bucket.count() <= 6
