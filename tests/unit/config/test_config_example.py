from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from worker.config.example import OPTION_LINE, prose, render_example, uncomment
from worker.config.initial import CONFIG, FIRST_JOB, INITIAL_FILES, KEYRING_FILE, next_steps
from worker.config.preset_files import preset_names
from worker.config.reference import render_reference
from worker.config.schema import SECTIONS

ROOT = Path(__file__).resolve().parents[3]


def test_example_loads_as_it_is(folder):
    """All comments: the defaults."""
    assert [place for place, _ in folder.load(render_example()).warnings] == ["integrations"]


def test_example_loads_when_uncommented(folder):
    """Every option at once, by taking away the leading `# ` of the option lines."""
    config = folder.load(uncomment(render_example()))
    assert set(config.integrations) == {"arlo", "example"}
    assert set(config.sinks) == {"local", "files"}
    assert {place for place, _ in config.warnings} == {"web"}


def test_example_names_every_option():
    """As an option line, or in prose where it excludes another one."""
    text = render_example()
    for section in SECTIONS:
        for option in section.options:
            assert option.later or re.search(
                rf"^# (  e\.g\. )?{option.name} = |^#   Write one of {option.name}_file, ", text, re.MULTILINE
            )


@pytest.mark.parametrize("section", ["worker", "store", "keyring"])
def test_example_shows_defaults_that_are_the_defaults(folder, section):
    """A default that is uncommented changes nothing."""
    options = {option.name: option for each in SECTIONS if each.name == section for option in each.options}
    block = render_example().partition(f"# [{section}]\n")[2].partition("\n# ----")[0]
    kept = [
        line.removeprefix("# ")
        for line in block.splitlines()
        if OPTION_LINE.match(line) and options[line.split()[1]].default is not None and line.split()[1] != "timezone"
    ]
    written = folder.load(f"[{section}]\n" + "\n".join(kept))
    plain = folder.load("")
    assert getattr(written, section) == getattr(plain, section)


def test_example_prose_cannot_look_like_an_option():
    """The generator refuses a description that would be uncommented."""
    with pytest.raises(AssertionError):
        prose("every = 5 is wrong")


def test_generated_files_are_up_to_date():
    """config.example.toml and docs/configuration.md are what the schema says."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools/generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_generator_names_what_has_drifted(tmp_path):
    """Exit code 1 and one line a file; writing mends it."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import generate; from pathlib import Path\n"
        f"root = Path({str(tmp_path)!r})\n"
        "print(generate.main(['--check'], root), generate.main([], root), generate.main(['--check'], root))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1 0 0"
    assert "config.example.toml is not what its source says; run: python tools/generate.py" in done.stderr


def test_initial_config_loads(folder):
    """As written, with the one warning that there is no integration yet."""
    config = folder.load(CONFIG)
    assert [place for place, _ in config.warnings] == ["integrations"]
    assert config.keyring.path == folder.path / KEYRING_FILE
    assert config.sinks["local"].path == folder.path / "state/data.db"


def test_initial_config_loads_when_its_hints_are_followed(folder):
    """Uncommented and filled in, it is a whole configuration."""
    config = folder.load(uncomment(CONFIG).replace("…", "abc"))
    assert config.jobs["first-contacts"].uses == "first.contacts"
    assert config.integrations["example"].issuer == "https://auth.example.com"
    assert config.warnings == ()


def test_initial_job_is_a_python_module():
    """It compiles and has the function that the config names."""
    names = compile(FIRST_JOB, "first.py", "exec").co_names
    assert {"Context", "job", "contacts"} <= set(names)


def test_initial_files_stay_in_their_folder():
    """Relative paths only."""
    assert all(not Path(name).is_absolute() and ".." not in name for name in INITIAL_FILES)
    assert "worker config check" in next_steps("here")


def test_reference_lists_every_option_and_preset():
    """docs/configuration.md comes from the same schema."""
    text = render_reference()
    assert all(f"| `{option.name}` |" in text for section in SECTIONS for option in section.options if not option.later)
    assert all(f"### `{name}`" in text for name in preset_names())
