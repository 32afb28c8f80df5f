"""`docs/configuration.md`, from the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.config.preset_files import FACTS, preset_names, read_preset
from worker.config.schema import EXPLAINED, HEADINGS
from worker.config.toml_text import to_toml

if TYPE_CHECKING:
    from worker.config.options import Option, Section

_HEAD = """\
# Configuration

<!-- Generated from the schema by tools/generate.py. -->

One TOML file: the one named by `--config`, else by `$WORKER_CONFIG`, else `./config.toml`, else
`/etc/worker/config.toml`. `worker config check` finds all faults at once, `worker config show` prints what is in
effect, and `worker config example` prints every option with its default, ready to be uncommented
([config.example.toml](../config.example.toml)).

- **Paths** are relative to the file.
- **Durations** are a number and a unit: `30s`, `15m`, `1h30m`, `2d`, `1w`. A number without a unit is refused.
- **Names** of integrations, jobs and sinks: letters, digits, `.`, `_`, `-`. Names of accounts also have `@` and `+`.
- **Cron lines** are those of crontab(5): five fields, 0 and 7 are Sunday, and when day of month and day of week are
  both restricted, a day that fits either counts. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` work.
- **Commands** run without a shell. A string is split into words; `["sh", "-c", "…"]` gets a pipe. They have ten
  seconds, no standard input, and the config file's folder as working directory.

## Secrets

An integration's client secret is kept in the encrypted store: `worker secrets set NAME client_secret`. Where secrets
are managed elsewhere, an option marked *secret* can be given in three ways, which win over the store:

| key | value |
|---|---|
| `x_file` | a file; a relative name is searched in `$CREDENTIALS_DIRECTORY` (systemd), then beside the config file |
| `x_env` | the name of an environment variable |
| `x_command` | a command that prints it |

The secret itself as `x = "…"` is allowed and draws a warning.

A secret's file is refused when its mode lets anybody but its owner read or write it (`chmod 600`). Three places are
exempt, because their modes are not yours to change and others are kept out anyway: `$CREDENTIALS_DIRECTORY`,
`/run/secrets` (Docker, Compose, Podman), and read-only memory-backed mounts of their own (Kubernetes secret volumes).
In the latter two a file that group or others may *write* is still refused.
"""


def render_reference() -> str:
    """The text of `docs/configuration.md`."""
    parts = [_HEAD, *(_render_section(section) for section in EXPLAINED), _render_presets()]
    return "\n".join(parts)


def _render_section(section: Section) -> str:
    lines = [
        f"## `{HEADINGS[section.name]}`",
        "",
        section.summary,
        "",
        "| option | value | default | |",
        "|---|---|---|---|",
    ]
    lines += [_render_option(option) for option in section.options if not option.later]
    return "\n".join([*lines, ""])


def _render_option(option: Option) -> str:
    if option.required:
        default = "required"
    else:
        default = f"`{_cell(to_toml(option.default))}`" if option.default not in (None, [], {}) else ""
    text = option.summary
    if option.example is not None and not option.secret:
        text += f" Example: `{option.name} = {to_toml(option.example)}`"
    label = option.kind.label.replace('"', "`") + (", *secret*" if option.secret else "")
    return f"| `{option.name}` | {_cell(label)} | {default} | {_cell(text)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _render_presets() -> str:
    lines = ["## Presets", "", "What a preset fills in; any option given in the file wins. The steps at the provider's"]
    lines += ["console, and what to expect of its grants: [presets](presets/README.md).", ""]
    for preset in map(read_preset, preset_names()):
        lines += [f"### `{preset.name}`", "", f"{preset.summary}.", ""]
        if preset.platform:
            lines += [f"`platform` is {preset.platform}.", ""]
        lines += ["```toml", *(f"{key} = {to_toml(value)}" for key, value in preset.values.items()), "```", ""]
    return "\n".join(lines)


_PRESETS_HEAD = """\
# Presets

<!-- Generated from worker/config/presets/ by tools/generate.py. -->

A preset fills in what is known of a provider: endpoints, how the client proves itself, parameters without which there
is no refresh token, the way of answering, the pace. Any option given in the config wins; tables (`authorize_params`,
`headers`) are joined. `scopes` replaces the preset's list, so name what brings the refresh token again: `worker config
check` warns when it is missing. `worker config show` prints what is in effect, and under `provider` what to know of the
grants. A job that runs less often than an unused refresh token lives loses its grants.

Each page has the steps at the provider's console, the smallest config, what to expect, and how a human consents again.
**Unconfirmed** marks what no source at hand confirmed; find out before you rely on it.

Every provider takes a redirect URI of one of three kinds:

- **any port** of `http://127.0.0.1`: give no `redirect_uri`; `worker enroll` listens on a free port.
- **one address on this machine**: register it and write the same, e.g. `redirect_uri = "http://127.0.0.1:8765/callback"`.
- **https only**: register an https address that belongs to you, write it as `redirect_uri`, and use `worker enroll
  --paste`: the page need not exist, the browser's address after the consent is what is pasted.

A provider that is not here is described in the config just as well ([configuration](../configuration.md)); a new preset
is one TOML file in `worker/config/presets/`, a page here, and rows in `tests/unit/accounts/preset_answers.json`.
"""


def render_presets() -> str:
    """The text of `docs/presets/README.md`."""
    columns = ["access_token", "refresh_token", "unused", "rotation"]
    lines = ["| preset | " + " | ".join(FACTS[column] for column in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for preset in map(read_preset, preset_names()):
        facts = " | ".join(_cell(preset.facts.get(column, "")) for column in columns)
        lines.append(f"| [{preset.name}]({preset.name}.md) | {facts} |")
    return "\n".join([_PRESETS_HEAD, *lines, ""])
