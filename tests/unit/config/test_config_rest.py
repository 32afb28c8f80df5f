"""`uses = "rest"` in the config: what is read, and every fault at its place."""

from __future__ import annotations

from dataclasses import fields

import pytest

from worker.config.kinds_rest import STYLES
from worker.config.model import Increment, Paging
from worker.jobs import paging

_JOB = '[integrations.i]\nclient_id="c"\ntoken_url="https://a.example/t"\napi_base="https://a.example/"\n[jobs.j]\nuses="rest"\nintegration="i"\nevery="1h"\n'
_NAMED = '[[jobs.j.resources]]\nname="customers"\n'


def test_styles_are_those_of_the_paging():
    """The config knows each style and each of its settings, and no other."""
    known = {name: sorted(settings) for name, settings in STYLES.items()}
    assert known == {name: sorted(one.name for one in fields(style)) for name, style in paging.STYLES.items()}


def test_resource_needs_no_more_than_a_name(folder):
    """The path is the name, and so is the table."""
    resource = folder.load(_JOB + _NAMED).jobs["j"].resources[0]
    assert (resource.path, resource.table, resource.paging, resource.primary_key) == (
        "customers", "customers", Paging("auto"), ()
    )  # fmt: skip


def test_resource_is_read_with_all_it_says(folder):
    """Everything in its place."""
    text = (
        _JOB + _NAMED + 'path="/c"\nprimary_key="id"\nfields=["id", "address.city"]\nparams={on=true, day=2026-01-31}\n'
        'paging={style="cursor", path="next"}\n'
        'incremental={field="at", param="since", initial=2020-01-01T00:00:00Z, overlap="5m", order="ascending"}\n'
        '[[jobs.j.resources]]\nname="notes"\npath="/c/{customers.id}/notes"\nprimary_key=["_customers_id", "n"]\n'
        'fields={n="number"}\n'
    )
    first, second = folder.load(text).jobs["j"].resources
    assert first.fields == (("id", "id"), ("address_city", "address.city"))
    assert (first.params, first.paging) == ({"on": "true", "day": "2026-01-31"}, Paging("cursor", {"path": "next"}))
    assert first.incremental == Increment("at", "since", "2020-01-01T00:00:00Z", 300.0, "ascending")
    assert (second.parent, second.parent_fields, second.fields) == ("customers", ("id",), (("n", "number"),))


FAULTS = [
    ("", "resources", "missing; write [[jobs.NAME.resources]]"),
    ("resources = 5\n", "resources", "5 is a number"),
    (_NAMED + 'pth="/x"', "resources[1].pth", 'did you mean "path"?'),
    ('[[jobs.j.resources]]\npath="/x"', "resources[1].name", 'missing; write name = "customers"'),
    (_NAMED + _NAMED, "resources[2].name", "is there already"),
    (_NAMED + 'path="/a b"', "resources[1].path", "does not fit"),
    (_NAMED + 'path="/{customers}"', "resources[1].path", "does not fit"),
    (_NAMED + 'path="/{orders.id}"', "resources[1].path", 'takes from "orders", which is not listed above it'),
    (_NAMED + 'paging="pages"', "resources[1].paging", 'did you mean "page"?'),
    (_NAMED + 'paging={style="cursor", param="x"}', "resources[1].paging.param", 'did you mean "parameter"?'),
    (_NAMED + 'paging={style="link", path="x"}', "resources[1].paging.path", "it has none"),
    (_NAMED + 'paging={style="page", start="1"}', "resources[1].paging.start", "a whole number from 0 to 1"),
    (_NAMED + 'incremental={field="at", param="s"}', "resources[1].primary_key", "rows at the border"),
    (_NAMED + 'primary_key="id"\nincremental={field="at"}', "resources[1].incremental.param", "missing"),
    (_NAMED + 'primary_key="id"\nincremental="at"', "resources[1].incremental", "a table such as"),
    (
        _NAMED + 'primary_key="id"\nincremental={field="at", param="s", overlap="5"}',
        "resources[1].incremental.overlap",
        "no unit",
    ),
    (_NAMED + 'primary_key="id"\nfields=["name"]', "resources[1].fields", 'keeps no "id", which is the primary_key'),
    (_NAMED + 'fields=["a.b", "a_b"]', "resources[1].fields", 'become the column "a_b"'),
    (
        _NAMED + 'primary_key="id"\npaging="offset"\nincremental={field="at", param="s", order="ascending"}',
        "resources[1].paging",
        "some would be skipped",
    ),
    (_NAMED + "deletions=true", "resources[1].primary_key", "cannot be missed"),
    (
        _NAMED + 'primary_key="id"\nincremental={field="at", param="s"}\ndeletions=true',
        "resources[1].deletions",
        "names only what has changed",
    ),
    (
        _NAMED + 'primary_key="id"\nincremental={field="at", param="s"}\n[[jobs.j.resources]]\nname="n"\n'
        'path="/{customers.id}"\nprimary_key="id"\ndeletions=true',
        "resources[2].deletions",
        "is incremental, so its rows are never all read",
    ),
    (
        _NAMED
        + 'primary_key="id"\ndeletions=true\n[[jobs.j.resources]]\nname="n"\ntable="customers"\nprimary_key="id"',
        "resources[1].deletions",
        "a table of its own",
    ),
    (
        _NAMED + 'primary_key="id"\ndeletions=true\n[sinks.d]\ntype="dlt"\ndestination="duckdb"\npath="x"',
        "resources[1].deletions",
        "takes no rows away",
    ),
    (_NAMED + "params={a={b=1}}", "resources[1].params.a", "text, a number, or a list"),
    (
        _NAMED + 'primary_key="id"\n[[jobs.j.resources]]\nname="n"\npath="/{customers.id}"\nprimary_key="id"\n'
        'incremental={field="at", param="s"}',
        "resources[2].incremental",
        "not possible below a parent",
    ),
    (
        _NAMED + 'primary_key="id"\n[[jobs.j.resources]]\nname="n"\ntable="customers"\nprimary_key="n"',
        "resources[2].table",
        "another primary_key above",
    ),
]


@pytest.mark.parametrize(("text", "place", "what"), FAULTS, ids=[f"{place}-{what[:20]}" for _, place, what in FAULTS])
def test_resources_name_place_find_and_remedy(folder, text, place, what):
    """Each fault is reported where it stands, with what would be right."""
    job = _JOB.replace('every="1h"', 'every="1h"\nsink="d"') if "[sinks.d]" in text else _JOB
    assert what in folder.problems(job + text)[f"jobs.j.{place}"]


def test_resources_belong_to_a_job_without_code(folder):
    """A function reads what it reads."""
    problems = folder.problems(_JOB.replace('"rest"', '"a.b"') + _NAMED)
    assert "belongs to uses" in problems["jobs.j.resources"]


def test_resource_without_key_draws_a_warning(folder):
    """Every run adds all its rows again, which few people want."""
    warnings = folder.warnings(_JOB + _NAMED)
    assert "each run adds all its rows again" in warnings["jobs.j.resources[1]"]


DLT = [
    ('type="dlt"\ndestination="duckdbb"', "destination", 'did you mean "duckdb"?'),
    ('type="dlt"\ndestination="postgresql"', "destination", 'did you mean "postgres"?'),
    ('type="dlt"', "destination", "missing"),
    ('type="dlt"\ndestination="duckdb"', "path", "missing; write path"),
    ('type="dlt"\ndestination="postgres"\npath="x"', "path", "destination postgres has none"),
    ('type="dlt"\ndestination="duckdb"\npath="x"\ncredentials_env="X"', "credentials", "DuckDB has none"),
    (
        'type="dlt"\ndestination="duckdb"\npath="state/Raw.duckdb"\ndataset="raw"',
        "dataset",
        'write dataset = "raw_data"',
    ),
    ('type="sqlite"\npath="x"\ndataset="raw"', "dataset", "a sink of type sqlite has none"),
    ('type="dlt"\ndestination="duckdb"\npath="x"\nnested="rows"', "nested", '"tables" | "json"'),
]


@pytest.mark.parametrize(("text", "place", "what"), DLT, ids=[f"{place}-{what[:20]}" for _, place, what in DLT])
def test_dlt_sink_names_place_find_and_remedy(folder, text, place, what):
    """What a destination needs, and what it has not."""
    assert what in folder.problems(f"[sinks.d]\n{text}\n")[f"sinks.d.{place}"]


def test_dlt_sink_calls_its_dataset_otherwise_than_duckdb_calls_the_file(folder):
    """The same name for both is ambiguous in every statement."""
    sink = '[sinks.{}]\ntype="dlt"\ndestination="duckdb"\npath="state/{}.duckdb"\n'
    sinks = folder.load(sink.format("ware-house", "Ware_House") + sink.format("raw", "warehouse")).sinks
    assert (sinks["ware-house"].dataset, sinks["raw"].dataset) == ("ware_house_data", None)


@pytest.mark.parametrize(
    ("destination", "place", "what"),
    [
        ("postgres", "credentials", "write credentials_file"),
        ("teradata", "destination", "no destination that is known"),
    ],
)
def test_dlt_sink_that_dlt_may_know_more_of_draws_a_warning(folder, integration, destination, place, what):
    """There are settings of its own, and a newer dlt has more destinations."""
    found = folder.warnings(f'{integration}[sinks.d]\ntype="dlt"\ndestination="{destination}"\n')
    assert what in found[f"sinks.d.{place}"]
