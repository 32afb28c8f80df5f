"""Write the files that are generated, or, with --check, say which of them have drifted from what generates them.

Run from anywhere: `python tools/generate.py [--check]`. To add a file, add a line to GENERATED.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reference_pages import render_cli, render_errors

from worker.config.example import render_example
from worker.config.reference import render_presets, render_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parent.parent

#: Path below the top level -> what its text must be.
GENERATED: dict[str, Callable[[], str]] = {
    "config.example.toml": render_example,
    "docs/cli.md": render_cli,
    "docs/configuration.md": render_reference,
    "docs/errors.md": render_errors,
    "docs/presets/README.md": render_presets,
}


def drifted(root: Path) -> list[str]:
    """The generated files that are missing or not what they should be."""
    return [
        name
        for name, render in GENERATED.items()
        if not (root / name).is_file() or (root / name).read_text(encoding="utf-8") != render()
    ]


def write(root: Path) -> list[str]:
    """Bring all generated files up to date; the answer names those that changed."""
    changed = drifted(root)
    for name in changed:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(GENERATED[name](), encoding="utf-8")
    return changed


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Exit code: 0 all is up to date, 1 something drifted (only with --check)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file has drifted")
    if not parser.parse_args(arguments).check:
        for name in write(root):
            print(f"wrote {name}")
        return 0
    names = drifted(root)
    for name in names:
        print(f"{name} is not what its source says; run: python tools/generate.py", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
