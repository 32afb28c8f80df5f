"""The rate limits of an integration: what the config says, and what its API says."""

from __future__ import annotations

import threading

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from worker.clock import SystemClock
from worker.config.model import RateLimit
from worker.jobs.limit_fields import LONGEST_WAIT
from worker.runner.rate import RateLimiter
from worker.testing import ManualClock

HERE, THERE = "https://api.test/things", "https://other.test/things"
HOUR = 3600.0


@pytest.fixture
def limiter(clock: ManualClock):
    """Makes one with limits such as (3, 3600.0, "account")."""
    return lambda *limits: RateLimiter(tuple(RateLimit(*limit) for limit in limits), clock)


def granted(limiter: RateLimiter, account: str, tries: int, url: str = HERE) -> int:
    return sum(limiter.reserve(account, url) == 0 for _ in range(tries))


def test_rate_limit_lets_so_many_through_and_no_more(limiter):
    """Three an hour."""
    assert granted(limiter((3, HOUR, "integration")), "acme", 10) == 3


@pytest.mark.parametrize(("per", "rest"), [("integration", 0), ("account", 3), ("host", 0)])
def test_rate_limit_counts_for_all_accounts_or_for_each(limiter, per, rest):
    """What one account used is gone for the other, unless each has its own."""
    made = limiter((3, HOUR, per))
    granted(made, "acme", 3)
    assert granted(made, "globex", 5) == rest


@pytest.mark.parametrize(("per", "rest"), [("integration", 0), ("account", 0), ("host", 3)])
def test_rate_limit_counts_for_all_hosts_or_for_each(limiter, per, rest):
    """A second host of the same API has its own only with "per host"."""
    made = limiter((3, HOUR, per))
    granted(made, "acme", 3)
    assert granted(made, "acme", 5, THERE) == rest


def test_rate_limits_hold_together_and_a_refusal_uses_none_up(limiter, clock):
    """Five a minute and two a second: refused by the one, the other has not been used."""
    made = limiter((5, 60.0, "integration"), (2, 1.0, "account"))
    first = granted(made, "acme", 50)
    clock.advance(1.1)
    second = granted(made, "acme", 50)
    clock.advance(1.1)
    assert (first, second, granted(made, "acme", 50)) == (2, 2, 1)


def test_rate_limit_says_how_long_to_wait(limiter, clock):
    """Until the oldest request leaves the window, and a moment more: the way is not always as long."""
    made = limiter((2, 60.0, "integration"))
    granted(made, "acme", 1)
    clock.advance(20)
    granted(made, "acme", 1)
    wait = made.reserve("acme", HERE)
    clock.advance(wait)
    assert 40.05 <= wait <= 40.06
    assert granted(made, "acme", 2) == 1


def test_rate_limit_holds_for_threads_that_come_at_once():
    """Eight threads that meet a fresh limiter share one count, not one each."""
    made = RateLimiter((RateLimit(5, HOUR, "account"),), SystemClock())
    barrier, lock, total = threading.Barrier(8), threading.Lock(), 0

    def ask():
        nonlocal total
        barrier.wait(30)
        got = granted(made, "acme", 5)
        with lock:
            total += got

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert total == 5


def test_rate_limits_of_many_accounts_take_no_threads(limiter):
    """A limit per account, a hundred accounts: as many threads as before."""
    before = threading.active_count()
    made = limiter((3, HOUR, "account"))
    for number in range(100):
        made.reserve(f"account{number}", HERE)
    assert threading.active_count() == before


def test_rate_limit_forgets_what_lies_before_the_window(limiter, clock):
    """A limiter that lives for months does not grow with every request."""
    made = limiter((5, 0.02, "integration"))
    for _ in range(30):
        clock.advance(0.04)
        assert made.reserve("acme", HERE) == 0
    (window,) = made.counts.windows.values()
    assert window._bucket.count() <= 6


def test_rate_limit_forgets_hosts_that_nobody_asks_any_more(limiter, clock, answer):
    """An API whose redirects lead to ever new hosts does not fill the memory."""
    made = limiter((5, 1.0, "host"))
    for number in range(5000):
        clock.advance(0.01)
        url = f"https://host{number}.test/"
        made.reserve("acme", url)
        made.heard("acme", answer(200, url, Retry_After="1", RateLimit='"default";r=5;t=1'))
    assert len(made.counts.windows) < 1500
    assert len(made.counts.learnt) < 1500


def test_limiter_that_follows_goes_on_counting(clock):
    """A reload with one limit more: what was sent and what was heard still counts."""
    old = RateLimit(2, HOUR, "integration")
    first = RateLimiter((old,), clock)
    granted(first, "acme", 1)
    second = RateLimiter((old, RateLimit(100, 1.0, "host")), clock, first.counts)
    assert granted(second, "acme", 5) == 1


class TestAnswers:
    """What an answer says holds for whom it concerns."""

    @pytest.mark.parametrize("status", [200, 202, 304, 429])
    def test_retry_after_holds_the_account_at_that_host(self, limiter, answer, status):
        """Without a shared limit, others and other hosts go on."""
        made = limiter()
        made.heard("acme", answer(status, HERE, Retry_After="30"))
        assert [made.reserve("acme", HERE), made.reserve("globex", HERE), made.reserve("acme", THERE)] == [30, 0, 0]

    def test_unavailable_holds_everybody_at_that_host(self, limiter, answer):
        """A 503 is the service's."""
        made = limiter((9, HOUR, "account"))
        made.heard("acme", answer(503, HERE, Retry_After="30"))
        assert [made.reserve("globex", HERE), made.reserve("globex", THERE)] == [30, 0]

    @pytest.mark.parametrize(("per", "wait"), [("integration", 30), ("host", 30), ("account", 0)])
    def test_too_many_holds_those_who_share_a_limit(self, limiter, answer, per, wait):
        """As the config says."""
        made = limiter((100, 60.0, per))
        made.heard("acme", answer(429, HERE, Retry_After="30"))
        assert made.reserve("globex", HERE) == wait

    @pytest.mark.parametrize(("asked", "wait"), [(30, 30), (60, 60), (7200, 0)])
    def test_length_of_a_wait_tells_whose_it_is_where_limits_differ(self, limiter, answer, asked, wait):
        """Sixty a minute together and so many a day for each: two hours cannot come from the minute."""
        made = limiter((60, 60.0, "integration"), (5000, 86400.0, "account"))
        made.heard("acme", answer(429, HERE, Retry_After=str(asked)))
        assert [made.reserve("acme", HERE), made.reserve("globex", HERE)] == [asked, wait]

    @pytest.mark.parametrize(("renewed_in", "wait"), [(30, 30), (7200, 0)])
    def test_quotas_are_told_apart_likewise(self, limiter, answer, renewed_in, wait):
        """By when they are renewed."""
        made = limiter((60, 60.0, "integration"), (5000, 86400.0, "account"))
        made.heard("acme", answer(200, HERE, RateLimit=f'"some";r=0;t={renewed_in}'))
        assert [made.reserve("acme", HERE), made.reserve("globex", HERE)] == [renewed_in, wait]

    def test_redirection_is_followed_when_it_may_be(self, limiter, answer):
        """RFC 9110 section 10.2.3: the wait is for where it leads to."""
        made = limiter()
        made.heard("acme", answer(307, HERE, Retry_After="30", Location="https://other.test/late"))
        assert [made.reserve("acme", THERE), made.reserve("acme", HERE)] == [30, 0]

    def test_redirection_to_nowhere_does_no_harm(self, limiter, answer):
        """Half an IPv6 address."""
        made = limiter()
        made.heard("acme", answer(302, HERE, Retry_After="30", Location="https://[half"))
        assert made.reserve("acme", HERE) == 30

    def test_retry_after_is_never_clipped(self, limiter, answer, clock):
        """A week is a week."""
        made = limiter()
        made.heard("acme", answer(503, HERE, Retry_After=str(7 * 86400)))
        clock.advance(7 * 86400 - 1)
        assert made.reserve("acme", HERE) == 1

    def test_retry_after_may_be_a_date(self, limiter, answer):
        """Measured against the answer's own Date."""
        made = limiter()
        fields = {"Retry_After": "Fri, 02 Jan 2026 00:01:30 GMT", "Date": "Fri, 02 Jan 2026 00:00:00 GMT"}
        made.heard("acme", answer(429, HERE, **fields))
        assert made.reserve("acme", HERE) == 90

    def test_nonsense_holds_nobody(self, limiter, answer):
        """Four centuries."""
        made = limiter()
        made.heard("acme", answer(503, HERE, Retry_After="99999999999"))
        made.heard("acme", answer(200, HERE, RateLimit='"default";r=0;t=99999999999'))
        assert made.reserve("acme", HERE) == 0

    def test_quota_lets_through_what_is_left_of_it(self, limiter, answer):
        """Two left for half a minute: the third waits for the rest of it, and nobody is refused."""
        made = limiter()
        made.heard("acme", answer(200, HERE, RateLimit='"default";r=2;t=30'))
        assert [made.reserve("acme", HERE) for _ in range(3)] == [0, 0, 30]

    def test_quota_is_the_accounts_unless_they_share_one(self, limiter, answer):
        """The other account's quota is its own."""
        made = limiter()
        made.heard("acme", answer(200, HERE, X_RateLimit_Remaining="0", X_RateLimit_Reset="30"))
        assert [made.reserve("acme", HERE), made.reserve("globex", HERE)] == [30, 0]


_HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["-1", "²", "1e9", "9" * 400, "99999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "//[", "0", '"a";r=0;t=-1']
    ),
    st.integers(-5, 10**12).map(str),
)
_FIELDS = st.dictionaries(
    st.sampled_from(["Retry-After", "Date", "Location", "RateLimit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]),
    _HOSTILE,
)


@given(st.sampled_from([200, 202, 302, 307, 403, 429, 503]), _FIELDS, st.sampled_from([HERE, "", "https://[half", "x"]))
def test_hostile_answers_never_raise_and_hold_nobody_for_centuries(status, fields, url):
    """Whatever the fields hold, and wherever they come from."""
    response = requests.Response()
    response.status_code, response.url = status, url
    response.headers.update(fields)
    made = RateLimiter((RateLimit(9, 60.0, "host"),), ManualClock())
    made.heard("acme", response)
    assert 0 <= made.reserve("acme", HERE) <= LONGEST_WAIT
