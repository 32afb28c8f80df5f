"""The whole commented `config.example.toml`, from the schema.

Two kinds of comment lines: `# name = value` and `# [heading]` are options and headings to uncomment; everything else
is prose and never has that form. With all options uncommented at once the file loads, so what excludes another
option is only mentioned in prose.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from worker.config.schema import EXPLAINED
from worker.config.toml_text import to_toml

if TYPE_CHECKING:
    from worker.config.options import Option, Section

_WIDTH = 100
#: What `uncomment` uncovers, and prose must not look like.
OPTION_LINE = re.compile(r"# (?=(?:[a-z_]+ = |\[))")

_HEAD = """\
# Every option of headless-worker. Generated from the schema: `worker config example` prints it.
#
# Lines of the form `name = value` and `[heading]` show an option as it is without you, or an example where there is
# no default. Take away the leading "# " of what you want to change; the heading above it, too.
# No secret needs to stand here: client secrets are kept in the encrypted store (worker secrets set).
# Durations need a unit: 30s, 15m, 1h30m, 90d. Relative paths count from this file.
"""

#: Short tables that show a section's usual shape, before the one with every option.
_LEAD_INS = {
    "integrations": """\
# A provider that is known:

# [integrations.arlo]
# preset = "arlo"
# platform = "acme"
# client_id = "my-client"

# Any other provider, by hand. Not every option is needed: client_id, scopes, issuer (or authorize_url and token_url)
# and api_base are a good start.
""",
    "jobs.NAME.resources": """\
# [jobs.crm]
# uses = "rest"
# integration = "arlo"
# every = "1h"
""",
    "sinks": """\
# [sinks.files]
# type = "jsonl"
# path = "state/rows"
""",
}
#: What a heading with a NAME in it is in the example.
_EXAMPLES = {"jobs.NAME.resources": "jobs.crm.resources"}


def render_example() -> str:
    """The text of `config.example.toml`."""
    return "\n".join([_HEAD, *(_render_section(section) for section in EXPLAINED)])


def uncomment(example: str) -> str:
    """The example with every option and heading uncommented."""
    return "".join(OPTION_LINE.sub("", line, count=1) for line in example.splitlines(keepends=True))


def _render_section(section: Section) -> str:
    heading = {"table": "[{}]", "named": "[{}.{}]", "list": "[[{}]]"}[section.shape]
    title = _EXAMPLES.get(section.name, section.name)
    parts = [f"# {'-' * 4} {section.name} {'-' * (_WIDTH - 8 - len(section.name))}", prose(section.summary), ""]
    if section.name in _LEAD_INS:
        parts += [_LEAD_INS[section.name]]
    parts += [f"# {heading.format(title, section.example_name)}", ""]
    parts += [_render_option(option) for option in section.options if not option.later]
    return "\n".join(parts)


def _render_option(option: Option) -> str:
    summary = f"{option.summary} Required." if option.required else option.summary
    return f"{prose(summary)}\n{_render_value(option)}\n"


def _render_value(option: Option) -> str:
    shown = option.default if option.example is None or option.default not in (None, [], {}) else option.example
    if option.secret and option.alternative:
        return prose(f"Write one of {option.name}_file, {option.name}_env, {option.name}_command.", indent="  ")
    if option.alternative:
        return f"#   e.g. {option.name} = {to_toml(option.example if option.example is not None else shown)}"
    return f"# {option.name} = {to_toml(shown)}"


def prose(text: str, indent: str = "") -> str:
    """Comment lines none of which can be taken for an option."""
    lines = textwrap.wrap(text, _WIDTH - 2 - len(indent), break_long_words=False, break_on_hyphens=False)
    assert not any(OPTION_LINE.match(f"# {line}") for line in lines), text
    return "\n".join(f"# {indent}{line}" for line in lines)
