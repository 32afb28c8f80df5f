"""What answers have told, and how long it holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.jobs.limit_fields import Quota
from worker.runner.learnt import Learnt


def test_learnt_is_empty_at_first():
    """Nobody has said anything."""
    assert Learnt().wait("a", 100.0) == 0


def test_hold_ends_by_itself_and_is_let_go():
    """And leaves nothing behind."""
    learnt = Learnt()
    learnt.hold("a", 130.0)
    assert [learnt.wait("a", 100.0), learnt.wait("b", 100.0), learnt.wait("a", 130.0), len(learnt)] == [30, 0, 0, 0]


def test_hold_is_never_shortened():
    """The longest word counts: two answers may cross."""
    learnt = Learnt()
    learnt.hold("a", 200.0)
    learnt.hold("a", 110.0)
    assert learnt.wait("a", 100.0) == 100


def test_quota_counts_what_is_sent_before_the_next_answer():
    """Threads share what is left."""
    learnt = Learnt()
    learnt.told("a", [Quota("", 2, 60.0)], 100.0)
    learnt.take("a")
    learnt.take("a")
    assert learnt.wait("a", 110.0) == 50


def test_answer_that_is_late_gives_nothing_back():
    """It was written before the others were counted; and its window is the same one, told in whole seconds."""
    learnt = Learnt()
    learnt.told("a", [Quota("", 2, 60.0)], 100.0)
    learnt.take("a")
    learnt.take("a")
    learnt.told("a", [Quota("", 1, 59.0)], 100.4)
    assert learnt.wait("a", 100.4) > 0


def test_answer_can_lower_what_is_left():
    """Somebody else uses the same quota."""
    learnt = Learnt()
    learnt.told("a", [Quota("", 50, 60.0)], 100.0)
    learnt.told("a", [Quota("", 0, 50.0)], 110.0)
    assert learnt.wait("a", 110.0) == 50


def test_new_window_begins_anew():
    """Its end is another one."""
    learnt = Learnt()
    learnt.told("a", [Quota("", 0, 10.0)], 100.0)
    learnt.told("a", [Quota("", 99, 60.0)], 109.0)
    assert learnt.wait("a", 109.0) == 0


def test_longest_wait_of_several_quotas_counts():
    """The minute has room, the day has not."""
    learnt = Learnt()
    learnt.told("a", [Quota("minute", 5, 30.0), Quota("day", 0, 3600.0), Quota("hour", 0, 60.0)], 100.0)
    assert learnt.wait("a", 100.0) == 3600


def test_quota_that_an_answer_does_not_mention_gets_its_request_back():
    """GitHub's search quota of 30 is not used up by thirty other requests."""
    learnt = Learnt()
    learnt.told("a", [Quota("search", 1, 60.0)], 100.0)
    for _ in range(5):
        assert learnt.wait("a", 101.0) == 0
        learnt.take("a")
        learnt.told("a", [Quota("core", 4000, 3600.0)], 101.0)


def test_quota_gets_no_more_back_than_was_told():
    """Answers to requests that were sent before it was known."""
    learnt = Learnt()
    learnt.told("a", [Quota("search", 1, 60.0)], 100.0)
    learnt.told("a", [], 100.0)
    learnt.take("a")
    assert learnt.wait("a", 100.0) == 60


def test_names_without_end_are_not_kept():
    """A server may think up new ones with every answer."""
    learnt = Learnt()
    for number in range(1000):
        learnt.told("a", [Quota(f"q{number}", 0, 3600.0)], 100.0)
    assert len(learnt._windows["a"]) == 16


_QUOTAS = st.lists(st.builds(Quota, st.sampled_from("abc"), st.integers(0, 3), st.floats(0, 1e9)), max_size=4)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("told"), _QUOTAS),
        st.tuples(st.just("hold"), st.floats(0, 1e9)),
        st.tuples(st.just("pass"), st.floats(0, 1e6)),
        st.tuples(st.just("take"), st.none()),
    ),
    max_size=20,
)


@given(_STEPS)
def test_wait_is_never_negative_and_never_beyond_what_was_said(steps):
    """And when it is over, it is over: whatever came in whatever order."""
    learnt, now, last = Learnt(), 1000.0, 1000.0
    for kind, value in steps:
        if kind == "told":
            learnt.told("a", value, now)
            last = max([last, *(now + quota.renewed_in for quota in value)])
        elif kind == "hold":
            learnt.hold("a", now + value)
            last = max(last, now + value)
        elif kind == "pass":
            now += value
        else:
            learnt.take("a")
        assert 0 <= learnt.wait("a", now) <= max(0.0, last - now) + 1e-3
    assert (learnt.wait("a", last + 1), len(learnt)) == (0, 0)
