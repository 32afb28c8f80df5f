"""A dry run, as people see it."""

from __future__ import annotations

import pytest

from worker.cli.dry_run import show, types_of


@pytest.fixture
def shown(capsys, monkeypatch):
    """What is shown of rows on a terminal of 60 columns."""
    monkeypatch.setenv("COLUMNS", "60")

    def show_rows(rows, limit=20, **options):
        columns = {name: "int" if isinstance(value, int) else "str" for row in rows for name, value in row.items()}
        trial = {
            "account": "books/acme", "tables": {"t": rows} if rows else {}, "keys": {"t": ["id"]},
            "columns": {"t": columns}, "deletions": [], "cursor_before": {}, "cursor": {}, "error": None,
        }  # fmt: skip
        show(trial | options, limit)
        return capsys.readouterr().out.splitlines()

    return show_rows


def test_dry_run_shows_a_table_with_types(shown):
    """Names, types, values."""
    assert shown([{"id": 1, "name": "Ada"}, {"id": 12}])[:5] == [
        "books/acme t: 2 rows; key id",
        "id   name",
        "int  str",
        "1    Ada",
        "12   -",
    ]


def test_dry_run_shows_wide_rows_one_value_a_line(shown):
    """They would not fit the terminal."""
    assert shown([{"id": 1, "first": "x" * 30, "second": "y" * 30}])[1:5] == [
        "-- 1",
        "id      int  1",
        "first   str  " + "x" * 30,
        "second  str  " + "y" * 30,
    ]


def test_dry_run_cuts_long_values(shown):
    """Forty characters say what it is."""
    assert shown([{"id": "z" * 41}])[3] == "z" * 39 + "…"


def test_dry_run_shows_nested_values_as_json(shown):
    """On one line."""
    assert shown([{"a": {"b": [1, "é"]}}])[3] == '{"b": [1, "é"]}'


def test_dry_run_does_not_let_data_talk_to_the_terminal(shown):
    """Neither escape sequences nor new lines."""
    assert shown([{"a": "\x1b[2Jx\ny\u202e"}])[3] == " [2Jx y"


def test_dry_run_says_that_the_limit_is_reached(shown):
    """There may be more."""
    assert shown([{"id": 1}], limit=1)[0] == "books/acme t: 1 row, the limit; key id"


def test_dry_run_tells_where_the_cursor_would_go(shown):
    """Or that it would stay."""
    assert [shown([], cursor_before=before, cursor={"at": 2})[-1] for before in ({"at": 1}, {"at": 2})] == [
        'books/acme: the cursor would go from {"at": 1} to {"at": 2}',
        'books/acme: the cursor would stay at {"at": 2}',
    ]


def test_dry_run_without_rows_says_so(shown):
    """An error is told in its place, on stderr."""
    assert [shown([])[0], shown([], error="it is down")[0]] == [
        "books/acme: no rows",
        "books/acme: the cursor would stay at {}",
    ]


@pytest.mark.parametrize(
    ("rows", "sample", "line"),
    [
        (0, [], "0 rows would be deleted"),
        (1, ["7"], "1 row would be deleted: 7"),
        (3, ["7", "8"], "3 rows would be deleted: 7; 8; …"),
    ],
)
def test_dry_run_shows_what_would_be_deleted(shown, rows, sample, line):
    """With some of the keys, and whether there are more."""
    gone = {"table": "t", "rows": rows, "sample": sample, "held": None}
    assert shown([], deletions=[gone])[0] == f"books/acme t: {line}"


@pytest.mark.parametrize(
    ("seen", "word"),
    [(["int"], "int"), (["int", "str"], "int|str"), (["None", "Decimal"], "Decimal?"), (["None"], "None")],
)
def test_types_of_a_column_are_a_word(seen, word):
    """With a question mark where some rows have none."""
    assert types_of({"a": seen}) == {"a": word}
