"""Refusals of token endpoints in the wild, beyond the shared vectors: `token_dialects.json`, each with its source.

They are read by the same general rules: no provider is known by name. Where no rule can know, the row names the setting
that an operator would write.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker.oauth.dialect import Dialect
from worker.oauth.verdict import read_token_answer

SEEN = json.loads(Path(__file__).with_name("token_dialects.json").read_text())
KINDS = {True: "application/json", False: "text/plain"}


def read(seen, dialect=None):
    """The row's answer, as it arrives; a page calls itself HTML."""
    structured = not isinstance(seen["body"], str)
    body = json.dumps(seen["body"]) if structured else seen["body"]
    headers = {"content-type": "text/html" if body.startswith("<") else KINDS[structured]}
    return read_token_answer(seen["status"], headers, body.encode(), now=0.0, dialect=dialect)


@pytest.mark.parametrize("seen", SEEN, ids=lambda seen: seen["id"])
def test_dialect_in_the_wild_leads_to_the_right_next_step(seen):
    """Dead, later or the client's fault: as a careful reader would say."""
    outcome = read(seen, Dialect(**{name: tuple(codes) for name, codes in seen.get("needs_setting", {}).items()}))
    assert (outcome.kind, outcome.evidence["status"]) == (seen["expect"], seen["status"])


@pytest.mark.parametrize("seen", [seen for seen in SEEN if "needs_setting" in seen], ids=lambda seen: seen["id"])
def test_dialect_that_needs_a_setting_is_misread_without_it(seen):
    """So the setting is needed: no general rule has learnt to read it meanwhile."""
    assert read(seen).kind != seen["expect"]
