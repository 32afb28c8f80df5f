"""Scopes."""

from __future__ import annotations

import pytest

from worker.oauth.scopes import ScopeDifference, compare, read_scopes


def test_compare_names_what_is_missing_and_what_is_extra():
    """Both directions, in order."""
    assert compare(["read", "write", "roles"], ["openid", "read"]) == ScopeDifference(("write", "roles"), ("openid",))


def test_compare_with_an_answer_that_names_none_finds_no_difference():
    """RFC 6749 section 5.1: no scope means as requested."""
    assert not compare(["read"], None)


def test_compare_with_an_empty_grant_misses_everything():
    """An empty scope is not a missing one."""
    assert compare(["read"], ()).missing == ("read",)


@pytest.mark.parametrize(
    ("value", "separator", "scopes"),
    [
        ("a b", "", ("a", "b")),
        ("a  b\n", "", ("a", "b")),
        ("a,b", "", ("a", "b")),
        ("a, b", "", ("a", "b")),
        ("a;b", ";", ("a", "b")),
        ("a b", ",", ("a b",)),
        ("a a", "", ("a",)),
        ("", "", ()),
        (["a", "b c", 4, None, True, {}], "", ("a", "b c", "4")),
        (7, "", ("7",)),
        (None, "", None),
        ({}, "", None),
        (True, "", None),
    ],
)
def test_read_scopes_takes_what_providers_write(value, separator, scopes):
    """Text with blanks or commas, lists, numbers; nothing readable is None."""
    assert read_scopes(value, separator) == scopes
