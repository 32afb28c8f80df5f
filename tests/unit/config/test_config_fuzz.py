"""Whatever stands in the file, loading it brings a configuration or ConfigProblems."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.config.describe import describe
from worker.config.document import parse_document
from worker.config.example import render_example, uncomment
from worker.config.load import build
from worker.config.preset_files import preset_names
from worker.config.schema import SECTIONS
from worker.errors import ConfigProblems

FILE = Path("/srv/worker/config.toml")
KEYS = sorted({key for section in SECTIONS for key in section.keys})
VALID = [
    option.example if option.example is not None else option.default
    for section in SECTIONS
    for option in section.options
    if option.example is not None or option.default is not None
]
SCALARS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "15m", "UTC", "https://a.b/c", "a.b", "x", "\0", "{platform}", *preset_names()]),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.sampled_from(VALID),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), VALUES, max_size=8)
NAMED = st.dictionaries(st.sampled_from(["a", "b", "arlo", "a b"]) | st.text(max_size=5), TABLES | VALUES, max_size=3)
DOCUMENTS = st.dictionaries(
    st.sampled_from([section.name for section in SECTIONS]) | st.text(max_size=8),
    TABLES | NAMED | st.lists(TABLES, max_size=2) | VALUES,
    max_size=6,
)


def _judge(document: dict[str, object]) -> None:
    try:
        config = build(document, FILE)
    except ConfigProblems as error:
        problems = error.problems
    else:
        problems = config.warnings or (("all", "well"),)
        json.dumps(describe(config), allow_nan=False)
        repr(config)
    for place, what in problems:
        assert place
        assert place.isprintable()
        assert what.isprintable()
        assert len(what) < 600


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS)
def test_build_survives_any_document(document):
    """Any TOML value anywhere: a configuration that can be shown, or located problems."""
    _judge(document)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_build_survives_one_odd_value_in_a_sound_file(data):
    """Beyond the first fault: a file with every option, one of them replaced by anything."""
    document = parse_document(uncomment(render_example()).encode(), "config.toml")
    section = data.draw(st.sampled_from(SECTIONS))
    table = document[section.name]
    if section.shape == "named":
        table = table[data.draw(st.sampled_from(sorted(table)))]
    elif section.shape == "list":
        table = table[0]
    key = data.draw(st.sampled_from(sorted(section.keys)))
    table[key] = data.draw(VALUES)
    _judge(document)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_parse_survives_any_bytes(content):
    """Any bytes: a document, or one located problem."""
    with contextlib.suppress(ConfigProblems):
        _judge(parse_document(content, "config.toml"))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_parse_survives_a_damaged_file(data):
    """The example with a piece cut out or put in."""
    text = uncomment(render_example()).encode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    damaged = text[:start] + data.draw(st.binary(max_size=8)) + text[end:]
    with contextlib.suppress(ConfigProblems):
        _judge(parse_document(damaged, "config.toml"))
