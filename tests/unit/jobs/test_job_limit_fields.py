"""What an answer says about limits, in all its spellings."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from worker.jobs.limit_fields import LONGEST_WAIT, Quota, exhausted_for, read_quotas

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def quotas(**fields: str) -> list[Quota]:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return read_quotas(CaseInsensitiveDict(named), NOW)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ('"default";r=50;t=30', [Quota("default", 50, 30)]),
        ("default;r=50;t=30", [Quota("default", 50, 30)]),
        ('"default" ; r=0 ; t=30 ; pk=:cGs=:', [Quota("default", 0, 30)]),
        ('"day";r=0;t=3600, "minute";r=5;t=30', [Quota("day", 0, 3600), Quota("minute", 5, 30)]),
        ('"a,b;c=d";r=1;t=2', [Quota("a,b;c=d", 1, 2)]),
        ('"default";r="7";t=30', [Quota("default", 7, 30)]),
        ("limit=100, remaining=50, reset=30", [Quota("", 50, 30)]),
        ('"first";r=1;t=2, "cut off', [Quota("first", 1, 2)]),
        ('"default";r=50', []),
        ('"default";t=50', []),
        ('"default";r=-1;t=5', []),
        ('"default";r=many;t=5', []),
        ("", []),
    ],
)
def test_field_of_the_draft_is_read(field, expected):
    """As a list from its 8th version on, as a dictionary in its 7th; what comes before a fault counts."""
    assert quotas(RateLimit=field) == expected


def test_policy_says_how_long_a_window_is_where_the_field_does_not():
    """Longer it cannot take."""
    assert quotas(RateLimit='"a";r=0', RateLimit_Policy='"b";q=5;w=1, "a";q=100;w=60') == [Quota("a", 0, 60)]


@pytest.mark.parametrize("prefix", ["RateLimit", "X_RateLimit", "x_ratelimit", "X_Rate_Limit"])
@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("30", 30),
        ("12.5", 12.5),
        (str(int(NOW) + 90), 90),
        (f"{NOW + 90:.3f}", 90),
        (str((int(NOW) + 90) * 1000), 90),
        ("2026-01-01T00:01:30Z", 90),
        ("2026-01-01T01:01:30+01:00", 90),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90),
        (str(int(NOW) - 5), 0),
        ("0", 0),
    ],
)
def test_habitual_fields_are_read(prefix, reset, seconds):
    """A reset is a number of seconds, or a moment in whatever spelling."""
    assert quotas(**{f"{prefix}_Remaining": "3", f"{prefix}_Reset": reset}) == [Quota("", 3, seconds)]


def test_moment_is_measured_by_the_answers_own_clock():
    """Ours is an hour ahead."""
    told = {
        "X_RateLimit_Remaining": "0",
        "X_RateLimit_Reset": str(int(NOW) - 3570),
        "Date": "Wed, 31 Dec 2025 23:00:00 GMT",
    }
    assert quotas(**told) == [Quota("", 0, 30)]


def test_reset_after_wins_over_a_moment():
    """It needs no clock at all."""
    told = {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "1", "X_RateLimit_Reset_After": "4.5"}
    assert quotas(**told) == [Quota("", 0, 4.5)]


def test_resource_names_the_quota():
    """GitHub has one for each kind of request."""
    assert quotas(X_RateLimit_Remaining="9", X_RateLimit_Reset="5", X_RateLimit_Resource="search") == [
        Quota("search", 9, 5)
    ]


@pytest.mark.parametrize("reset", ["99999999999999", "999999999999999999", "inf", "nan", "1e3", "-5", "soon", ""])
def test_reset_that_makes_no_sense_says_nothing(reset):
    """Three thousand years, or no number at all."""
    assert quotas(X_RateLimit_Remaining="0", X_RateLimit_Reset=reset) == []


def test_quotas_without_end_are_not_read():
    """A field of a thousand."""
    assert len(quotas(RateLimit=", ".join(f'"q{number}";r=1;t=1' for number in range(1000)))) == 8


@pytest.mark.parametrize(
    ("told", "wait"),
    [([], None), ([Quota("a", 1, 9)], None), ([Quota("a", 1, 9), Quota("b", 0, 5), Quota("c", 0, 7)], 7)],
)
def test_exhausted_until_the_last_one_is_renewed(told, wait):
    """With several, the longest wait counts."""
    assert exhausted_for(told) == wait


_NAMES = st.sampled_from(
    ["RateLimit", "RateLimit-Policy", "Date"]
    + [f"{prefix}-{name}" for prefix in ("RateLimit", "X-RateLimit", "X-Rate-Limit")
       for name in ("Remaining", "Reset", "Reset-After", "Resource")]
)  # fmt: skip
_PIECES = st.sampled_from(
    ['"', "\\", ";", ",", "=", "r=0", ";t=9", '"a"', " ", "w=1", "remaining=0", "reset=", "²", "\x00", "9" * 30]
)
_VALUES = st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=40).map("".join), st.integers().map(str))


@given(st.dictionaries(_NAMES, _VALUES, max_size=6))
@example({"RateLimit": '"' * 60_000})
@example({"RateLimit": "a" + " ;" * 30_000 + '"'})
@example({"RateLimit": "a;" + '""' * 30_000 + '"'})
@example({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9999-12-31T23:59:59-23:59"})
def test_hostile_fields_never_raise_and_never_ask_for_an_absurd_wait(fields):
    """Whatever they hold; and in no time."""
    for quota in read_quotas(CaseInsensitiveDict(fields), NOW):
        assert quota.remaining >= 0
        assert math.isfinite(quota.renewed_in)
        assert 0 <= quota.renewed_in <= LONGEST_WAIT
