"""What a job without code runs, and what must not be seen of a destination's credentials."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from worker.config.load import build
from worker.errors import JobUnusable
from worker.jobs.loading import JobCatalog
from worker.runner.definitions import definition_of
from worker.runner.sink_making import secrets_within
from worker.testing import run_job

_CONFIG = """
[integrations.crm]
client_id = "c"
token_url = "https://a.example/t"
api_base = "https://a.example/"
[jobs.crm]
uses = "rest"
integration = "crm"
[[jobs.crm.resources]]
name = "customers"
paging = { style = "offset", limit = 2 }
deletions = true
primary_key = "id"
fields = { id = "id", town = "address.town" }
scopes = ["customers:read"]
[[jobs.crm.resources]]
name = "orders"
path = "/v2/orders"
table = "crm_orders"
primary_key = "number"
incremental = { field = "at", param = "from", initial = 7 }
scopes = ["customers:read", "orders:read"]
[jobs.code]
uses = "no.such"
integration = "crm"
"""


@pytest.fixture
def config():
    """A config with a job without code, and one whose file is not there."""
    return build(tomllib.loads(_CONFIG), Path("config.toml"))


def test_definition_of_a_job_without_code_reads_what_its_resources_say(config):
    """Everything that the config says has reached the requests and the rows."""
    definition = definition_of(config.jobs["crm"], config, JobCatalog({}))
    answers = {
        "/customers?limit=2&offset=0": [{"id": 1, "address": {"town": "Basel"}}, {"id": 2}],
        "/customers?limit=2&offset=2": [{"id": 3}],
        "/v2/orders?from=7": [{"number": 5, "at": 9}],
    }
    result = run_job(definition.function, responses=answers)
    assert result.rows == {
        "customers": [{"id": 1, "town": "Basel"}, {"id": 2, "town": None}, {"id": 3, "town": None}],
        "crm_orders": [{"number": 5, "at": 9}],
    }
    assert result.cursor == {"orders": 9}
    assert [resource.deletions for resource in definition.function.args[0]] == [True, False]


def test_definition_of_a_job_without_code_has_the_scopes_of_its_resources(config):
    """Each once; and a sentence for `worker jobs list`."""
    definition = definition_of(config.jobs["crm"], config, JobCatalog({}))
    assert (definition.scopes, definition.doc) == (("customers:read", "orders:read"), "Reads customers, orders.")


def test_definition_of_a_job_in_code_comes_from_its_file(config):
    """And is missed if it is not there."""
    with pytest.raises(JobUnusable, match=r"no\.py"):
        definition_of(config.jobs["code"], config, JobCatalog({}))


@pytest.mark.parametrize(
    ("credentials", "secrets"),
    [
        ("postgresql://user:p%40ss@host/db", ["p%40ss", "p@ss"]),
        ("postgresql://user@host/db", []),
        ('{"private_key": "abc", "project_id": "p", "client_secret": "s", "n_tokens": 5}', ["abc", "s"]),
        ("just-a-token", []),
        ("http://[half", []),
    ],
)
def test_secrets_within_credentials_are_learnt_one_by_one(credentials, secrets):
    """An error may quote a password without the URL around it."""
    assert secrets_within(credentials) == secrets
