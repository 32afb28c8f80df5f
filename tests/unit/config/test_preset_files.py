"""Presets are data: every file is sound, has its page, and a config as its page shows it loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.config.describe import describe
from worker.config.preset_files import FACTS, preset_names, read_preset
from worker.config.sections.integration import INTEGRATIONS

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "docs" / "presets"
SECTIONS = ["At the console", "What to expect", "Consenting again", "Unconfirmed"]


def _page(preset):
    return (PAGES / f"{preset}.md").read_text(encoding="utf-8")


def _configs(preset):
    return re.findall(r"```toml\n(.*?)```", _page(preset), re.DOTALL)


def test_presets_are_all_there():
    """A preset that vanished from the package would be missed by no other test."""
    assert preset_names() == (
        "arlo", "atlassian", "github", "google", "hubspot", "microsoft", "quickbooks", "salesforce", "shopify",
        "slack", "xero", "zoom",
    )  # fmt: skip


@pytest.mark.parametrize("name", preset_names())
def test_preset_has_only_options_of_an_integration(name):
    """A misspelt key would do nothing, and nobody would notice."""
    assert set(read_preset(name).values) <= set(INTEGRATIONS.keys) - {"preset", "platform", "client_id"}


@pytest.mark.parametrize("name", preset_names())
def test_preset_needs_its_platform_exactly_if_its_values_do(name):
    """Nothing is asked for that is not used, and no placeholder is left open."""
    preset = read_preset(name)
    assert bool(preset.platform) == ("{platform}" in str(preset.values))


@pytest.mark.parametrize("name", preset_names())
def test_preset_asks_for_its_essential_scopes(name):
    """Without the file's own scopes there is a refresh token."""
    preset = read_preset(name)
    assert set(preset.essential_scopes) <= set(preset.values.get("scopes", ()))


@pytest.mark.parametrize("name", preset_names())
def test_preset_names_its_sources(name):
    """Whoever doubts a value can look it up."""
    text = (ROOT / f"worker/config/presets/{name}.toml").read_text(encoding="utf-8")
    assert re.search(r"^# Sources: https://", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "number"), [(name, at) for name in preset_names() for at in range(len(_configs(name)))]
)
def test_config_of_a_preset_s_page_loads_without_a_doubt(folder, name, number):
    """The first is the smallest one; any other is a variant. Tokens come from somewhere and go somewhere."""
    config = folder.load(_configs(name)[number])
    (integration,) = config.integrations.values()
    assert config.warnings == ()
    assert integration.authorize_url
    assert integration.token_url
    assert integration.api_base
    assert integration.api_origins
    assert "{platform}" not in str(integration)


@pytest.mark.parametrize("name", preset_names())
def test_page_of_a_preset_has_every_section(name):
    """The steps, the traps, the way back, and what nobody could confirm."""
    assert re.findall(r"^## (.*)$", _page(name), re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("name", preset_names())
def test_description_shows_what_to_know_of_the_provider(folder, name):
    """`worker config show` says how long a grant lives and what ends it."""
    (shown,) = describe(folder.load(_configs(name)[0]))["integrations"].values()
    preset = read_preset(name)
    assert shown["provider"] == {"docs": preset.docs, **preset.facts}
    assert {"access_token", "refresh_token", "rotation", "ends"} <= preset.facts.keys() <= FACTS.keys()


def test_preset_s_client_is_public_where_the_file_says_so(folder):
    """An option in the file wins over the preset's."""
    text = f'{_configs("microsoft")[0]}client_auth = "none"\n'
    assert folder.load(text).integrations["microsoft"].client_auth == "none"


def test_preset_s_answers_of_success_can_reject_the_token(folder):
    """Slack's API answers 200 whatever happened."""
    rules = folder.load(_configs("slack")[0]).integrations["slack"].refresh_when
    assert {rule.status for rule in rules} == {200}
    assert all(rule.body for rule in rules)
