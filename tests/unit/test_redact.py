"""Scrubbing: secrets go, sentences stay."""

import copy
import json
import pickle
import threading
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.redact import MASK, Scrubber, Secret, scrub_data, scrub_fields, scrub_patterns

_TOKEN = "tok/en+with=odd&chars\"'é\\"
_SECRETS = st.text(min_size=6, max_size=40).filter(lambda text: text.strip() == text and text not in MASK)


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{:>5}".format, "%s".__mod__])
def test_secret_shows_itself_in_no_spelling(show) -> None:
    """str, repr, format, %-formatting."""
    assert show(Secret(_TOKEN)) == f"Secret({MASK})"


def test_secret_reveals_only_when_asked() -> None:
    """The one way in."""
    assert Secret(_TOKEN).reveal() == _TOKEN


def test_secret_is_not_json() -> None:
    """It has to be revealed first, which is easy to search for."""
    with pytest.raises(TypeError):
        json.dumps(Secret(_TOKEN))


@pytest.mark.parametrize("spread", [pickle.dumps, copy.deepcopy])
def test_secret_is_not_pickled_or_copied(spread) -> None:
    """Neither into a file nor to another process."""
    with pytest.raises(TypeError, match="not pickled"):
        spread(Secret(_TOKEN))


def test_secret_has_no_dict() -> None:
    """`vars()` in a debugger or an error reporter finds nothing."""
    assert not hasattr(Secret(_TOKEN), "__dict__")


def test_secrets_compare_by_value_and_with_nothing_else() -> None:
    """A secret is not equal to the string it holds."""
    assert Secret("abc") == Secret("abc")
    assert Secret("abc") != "abc"
    assert len({Secret("abc"), Secret("abc")}) == 1


def test_empty_secret_is_false() -> None:
    """As an empty string is."""
    assert not Secret("")
    assert Secret("x")


@given(secret=_SECRETS, before=st.text(max_size=20), after=st.text(max_size=20))
def test_scrubber_takes_a_known_secret_out_of_any_text(secret: str, before: str, after: str) -> None:
    """Wherever it stands."""
    scrubber = Scrubber()
    scrubber.learn(Secret(secret))
    assert secret not in scrubber(f"{before} {secret} {after}").replace(MASK, "")


@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda value: quote(value, safe=""),
        lambda value: urlencode({"x": value}),
        lambda value: json.dumps({"x": value}),
        lambda value: repr({"x": value}),
    ],
    ids=["plain", "quoted", "form", "json", "repr"],
)
def test_scrubber_knows_a_secret_in_every_spelling(spell) -> None:
    """Plain, percent-encoded, form-encoded, in JSON and in a repr."""
    scrubber = Scrubber()
    scrubber.learn(_TOKEN)
    spelled = spell(_TOKEN)
    assert "odd" not in scrubber(f"sent {spelled} off")


def test_scrubber_leaves_short_values_alone() -> None:
    """Masking `abc` would mask half the text around it."""
    scrubber = Scrubber()
    scrubber.learn("abc", "", None)
    assert scrubber("abcdef") == "abcdef"


def test_scrubber_forgets_the_oldest_first() -> None:
    """Its memory is bounded; what was shown last stays known."""
    scrubber = Scrubber()
    scrubber.learn("first-secret", "second-secret")
    scrubber.learn("first-secret", *(f"filler-{number}" for number in range(Scrubber.LIMIT - 1)))
    assert scrubber("first-secret second-secret") == f"{MASK} second-secret"


def test_scrubber_may_learn_while_it_scrubs() -> None:
    """Threads share it."""
    scrubber, faults = Scrubber(), []

    def learn(start: int) -> None:
        try:
            for number in range(200):
                scrubber.learn(f"secret-{start}-{number}")
                scrubber("nothing to see")
        except Exception as error:  # noqa: BLE001 - any fault is the finding
            faults.append(error)

    threads = [threading.Thread(target=learn, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abcdefgh1234", f"Authorization: Bearer {MASK}"),
        ("authorization: basic YWJjOmRlZg==", f"authorization: basic {MASK}"),
        ("grant_type=refresh_token&refresh_token=abc&x=1", f"grant_type=refresh_token&refresh_token={MASK}&x=1"),
        ("GET /callback?code=abc&state=def HTTP/1.1", f"GET /callback?code={MASK}&state={MASK} HTTP/1.1"),
        ('{"access_token": "abc", "expires_in": 5}', f'{{"access_token": "{MASK}", "expires_in": 5}}'),
        ('{"access_token":"a\\"b","x":1}', f'{{"access_token":"{MASK}","x":1}}'),
        ("{'client_secret': 'abc'}", f"{{'client_secret': '{MASK}'}}"),
        ("postgresql://worker:hunter2@db/x", f"postgresql://worker:{MASK}@db/x"),
        ("postgresql://worker:hun@ter2@db/x", f"postgresql://worker:{MASK}@db/x"),
        ("postgresql://:hunter2@db/x", f"postgresql://:{MASK}@db/x"),
    ],
)
def test_look_alike_is_masked(text: str, clean: str) -> None:
    """What looks like a secret is one, known or not."""
    assert scrub_patterns(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "arlo/acme needs consent: the provider refuses the refresh token (invalid_grant)",
        "https://api.example.org:8443/events?since=2026-01-01",
        'Basic realm="demo"',
        "status code 503",
        "passcode=1",
        "the basic idea",
    ],
)
def test_harmless_text_is_left_alone(text: str) -> None:
    """A masked sentence helps nobody."""
    assert scrub_patterns(text) == text


@given(st.text())
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    """It settles at once."""
    once = scrub_patterns(text)
    assert scrub_patterns(once) == once


def test_fields_of_secret_names_are_masked_at_any_depth() -> None:
    """Headers and JSON answers, nested and in lists."""
    fields = {
        "Authorization": "Bearer x",
        "answer": {"refresh_token": "x", "scope": "read"},
        "list": [{"id_token": "x"}, "plain", 3],
        "note": "token=abc",
    }
    assert scrub_fields(fields) == {
        "Authorization": MASK,
        "answer": {"refresh_token": MASK, "scope": "read"},
        "list": [{"id_token": MASK}, "plain", 3],
        "note": f"token={MASK}",
    }


def test_fields_keep_numbers_under_secret_names() -> None:
    """`code: 400` is an error code."""
    assert scrub_fields({"code": 400, "token": True, "key": None}) == {"code": 400, "token": True, "key": MASK}


def test_scrubber_masks_a_known_secret_behind_its_name_once():
    """By its value and by its name, and the mask is whole."""
    scrubber = Scrubber()
    scrubber.learn("abcdef-123456")
    assert scrubber("a?access_token=abcdef-123456&x=1") == f"a?access_token={MASK}&x=1"


def test_scrub_data_keeps_columns_that_are_parameters_elsewhere():
    """An invoice has a state; nobody's column is a password."""
    assert scrub_data('{"state": "open", "password": "hunter2", "code": "NZ"}') == (
        f'{{"state": "open", "password": "{MASK}", "code": "NZ"}}'
    )


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<x:Token a='1'>abc</x:Token><token>", f"<x:Token a='1'>{MASK}</x:Token><token>"),
        ('<user password = "hunter2" name="x"/>', f'<user password = "{MASK}" name="x"/>'),
        ("<Code>NZ</Code><State>open</State>", "<Code>NZ</Code><State>open</State>"),
    ],
)
def test_scrub_data_reads_xml(text: str, clean: str) -> None:
    """Elements and attributes, with a namespace or without."""
    assert scrub_data(text) == clean


@pytest.mark.parametrize("name", ["refresh_token", "refreshToken", "refresh-token", "RefreshToken"])
def test_names_count_in_every_spelling(name: str) -> None:
    """Providers mix them."""
    assert scrub_patterns(f'{{"{name}": "abc"}} {name}=abc') == f'{{"{name}": "{MASK}"}} {name}={MASK}'
