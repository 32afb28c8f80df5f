"""WWW-Authenticate, rule by rule."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.oauth.challenge import Challenge, parse_challenges

TOKEN = st.text(alphabet="!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters, min_size=1, max_size=12)
QUOTABLE = st.text(
    alphabet=st.characters(min_codepoint=32, max_codepoint=255, blacklist_characters="\x7f") | st.just("\t"),
    max_size=20,
)
TOKEN68 = st.from_regex(r"[0-9A-Za-z\-._~+/]{1,20}={0,2}", fullmatch=True)


def challenge(scheme, token68=None, **parameters):
    return Challenge(scheme, parameters, token68)


SOUND = [
    ("bearer with a reason", 'Bearer error="invalid_token"', [challenge("bearer", error="invalid_token")]),
    (
        "parameters belong to the scheme before them",
        'Bearer realm="a", error="invalid_token", Basic realm="b"',
        [challenge("bearer", realm="a", error="invalid_token"), challenge("basic", realm="b")],
    ),
    (
        "a provider's own parameters on a Basic challenge",
        'Basic realm="demo", error="invalid_token", error_message="The access token is invalid"',
        [challenge("basic", realm="demo", error="invalid_token", error_message="The access token is invalid")],
    ),
    ("a fold after the comma", 'Basic realm="demo",\r\n   error="x"', [challenge("basic", realm="demo", error="x")]),
    ("a fold by a lone line feed", 'Basic\n realm="demo"', [challenge("basic", realm="demo")]),
    ("a comma in quotes", 'A b="c, d=e", F', [challenge("a", b="c, d=e"), challenge("f")]),
    ("an escaped quote", r'A b="c\"d\\"', [challenge("a", b='c"d\\')]),
    ("an empty quoted string", 'A b=""', [challenge("a", b="")]),
    ("a tab in quotes", 'A b="c\td"', [challenge("a", b="c\td")]),
    ("text above ASCII", 'A b="caf\xe9"', [challenge("a", b="caf\xe9")]),
    ("decoded text above Latin-1", 'A b="\u4f60"', [challenge("a", b="\u4f60")]),
    ("token68 with padding", "A b==, C", [challenge("a", token68="b=="), challenge("c")]),
    ("token68 that looks like a parameter without value", "A b=", [challenge("a", token68="b=")]),
    ("token68 with a slash", "A b/c+d", [challenge("a", token68="b/c+d")]),
    ("a scheme after a token68", "A b, C d=e", [challenge("a", token68="b"), challenge("c", d="e")]),
    ("blanks around the equals sign", 'A b \t= "c"', [challenge("a", b="c")]),
    ("empty elements everywhere", ", ,A ,, b=c,, d=e, ,F, ", [challenge("a", b="c", d="e"), challenge("f")]),
    ("scheme names are tokens", "A!b c=d", [challenge("a!b", c="d")]),
    ("names without case", "BEARER ERROR=Invalid", [challenge("bearer", error="Invalid")]),
    ("a tab before a comma", "A\t,\tB", [challenge("a"), challenge("b")]),
    ("spaces before an empty list", "A   ", [challenge("a")]),
    ("nothing", "", []),
    ("commas only", " , ,", []),
]

FAULTY = [
    ("unterminated quote", 'A, B c="d', [challenge("a")]),
    ("escape at the end", 'A, B c="d\\', [challenge("a")]),
    ("duplicate parameter", "A, B c=d, C=e, F", [challenge("a")]),
    ("value that is no token", "A, B c=d@e, F", [challenge("a")]),
    ("value that is missing", "A b=c, D e=f, g=, H", [challenge("a", b="c")]),
    ("missing comma between parameters", "A, B c=d e=f", [challenge("a")]),
    ("missing comma between challenges", "A, B c=d E f=g", [challenge("a")]),
    ("text after a token68", "A, B c== d", [challenge("a")]),
    ("parameter after a token68", "A b==, c=d", [challenge("a", token68="b==")]),
    ("parameter after a scheme without space", "A, b=c", [challenge("a")]),
    ("parameter before any scheme", "b=c, A", []),
    ("tab for the space after the scheme", "A, B\tc=d", [challenge("a")]),
    ("space and tab after the scheme", "A, B \tc=d", [challenge("a")]),
    ("junk as an element of its own", "A b=c, @, D", [challenge("a", b="c")]),
    ("control character in quotes", 'A, B c="\x00"', [challenge("a")]),
    ("delete in quotes", 'A, B c="\x7f"', [challenge("a")]),
    ("line end that is no fold", 'A, B c="d\r\ne"', [challenge("a")]),
    ("scheme that is no token", "A, B/C d=e", [challenge("a")]),
    ("quoted string as an element", 'A, "b"', [challenge("a")]),
]


@pytest.mark.parametrize(("value", "expected"), [case[1:] for case in SOUND], ids=[case[0] for case in SOUND])
def test_challenges_of_a_sound_field_are_all_read(value, expected):
    """Each rule of RFC 9110 section 11, one at a time."""
    assert parse_challenges([value]) == expected


@pytest.mark.parametrize(("value", "expected"), [case[1:] for case in FAULTY], ids=[case[0] for case in FAULTY])
def test_challenges_before_a_fault_are_kept(value, expected):
    """A fault ends its field value and costs the challenge that it is in, and no other."""
    assert parse_challenges([value]) == expected


def test_challenges_after_a_faulty_field_value_are_read():
    """Field values are independent of each other."""
    assert parse_challenges(['A b="', "C", "@", 'D e="f"']) == [challenge("c"), challenge("d", e="f")]


def test_challenges_of_a_single_string_are_its_own():
    """A string in place of a list is one field value, not a list of letters."""
    assert parse_challenges("A, B") == [challenge("a"), challenge("b")]


@given(st.lists(st.text(max_size=60)))
def test_challenges_of_any_text_are_sound(values):
    """No text raises, and what is kept is well-formed."""
    for found in parse_challenges(values):
        assert found.scheme == found.scheme.lower()
        assert not (found.parameters and found.token68)


@given(st.lists(st.text(alphabet='Ab=", \t\\\r\n~@', max_size=30), max_size=3))
def test_challenges_of_delimiter_soup_are_sound(values):
    """Delimiters in any order raise nothing and make no scheme of nothing."""
    assert all(found.scheme for found in parse_challenges(values))


@given(
    st.lists(
        st.one_of(
            st.builds(Challenge, TOKEN.map(str.lower)),
            st.builds(lambda scheme, text: Challenge(scheme, {}, text), TOKEN.map(str.lower), TOKEN68),
            st.builds(Challenge, TOKEN.map(str.lower), st.dictionaries(TOKEN.map(str.lower), QUOTABLE, min_size=1)),
        ),
        max_size=4,
    )
)
def test_challenges_written_by_the_grammar_come_back(challenges):
    """Writing and reading are inverse to each other, for one field value and for many."""
    written = [_write(each) for each in challenges]
    assert parse_challenges([", ".join(written)]) == challenges
    assert parse_challenges(written) == challenges


def _write(item):
    if item.token68:
        return f"{item.scheme} {item.token68}"
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in item.parameters.items()}
    return " ".join([item.scheme, ", ".join(f'{name}="{value}"' for name, value in quoted.items())]).rstrip(" ")


def test_challenges_of_a_hostile_field_take_linear_time():
    """A field of a megabyte is read at once: a quadratic reading would outlast the test's time limit."""
    for value in ("A " + "b=c, " * 200_000, "A" + " \t" * 500_000, 'A b="' + "\\" * 1_000_001, "\n " * 500_000):
        parse_challenges([value])
