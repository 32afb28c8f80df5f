"""Finding and loading the config file. All faults are reported at once; only a file that is no TOML stops at the first.

Loading reads nothing but the file itself: no secret is fetched and no folder looked at (that is `check.py`), and the
environment is consulted only to find the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.config.cross_checks import check_references
from worker.config.document import read_document
from worker.config.faults import Faults, Spot, suggestion, type_of
from worker.config.model import Config
from worker.config.options import Reading, Readings, Section, read_table
from worker.config.paths import exists, is_file, is_folder, normal
from worker.config.schema import HEADINGS, SECTIONS, homes_of_options
from worker.errors import ConfigProblems, Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where a config is looked for when nobody names one.
VARIABLE = "WORKER_CONFIG"
PLACES = (Path("config.toml"), Path("/etc/worker/config.toml"))


def find(explicit: Path | None, environ: Mapping[str, str], places: tuple[Path, ...] = PLACES) -> Path:
    """The file to load: `explicit`, else $WORKER_CONFIG, else ./config.toml, else /etc/worker/config.toml.

    Raises Misconfigured when it is not there.
    """
    named = environ.get(VARIABLE, "")
    if explicit is not None or named:
        path = explicit if explicit is not None else Path(named)
        if is_folder(path):
            raise Misconfigured(f"{path} is a folder, not a config file", hint=f"name the file: {path / 'config.toml'}")
        if not exists(path):
            origin = "" if explicit is not None else f" (${VARIABLE} names it)"
            raise Misconfigured(f"{path}{origin} does not exist", hint="worker init")
        return path
    for place in places:
        if is_file(place):
            return place
    looked = " or ".join(str(place) for place in places)
    raise Misconfigured(
        f"no config file: neither --config nor ${VARIABLE} names one, and no {looked}", hint="worker init"
    )


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration, checked. Raises ConfigProblems with all faults, or Misconfigured when there is no file."""
    found = find(path, environ)
    return build(read_document(found), found)


def build(document: Mapping[str, Any], path: Path) -> Config:
    """A parsed document as a Config; `path` is the file it came from. Raises ConfigProblems with all faults."""
    absolute = normal(path.absolute())
    faults = Faults()
    readings = read_sections(document, Spot("", faults, absolute.parent))
    check_references(readings, faults)
    if faults.problems:
        raise ConfigProblems(str(path), faults.problems)
    built = {section.name: _built(section, readings[section.name]) for section in SECTIONS}
    return Config(path=absolute, **built, warnings=tuple(faults.warnings))


def read_sections(document: Mapping[str, Any], top: Spot) -> Readings:
    """Every section of the document."""
    elsewhere = homes_of_options()
    known = {section.name for section in SECTIONS}
    for key in document:
        if key not in known:
            home = f"; it belongs in {elsewhere[key]}" if key in elsewhere else ""
            top.inside(key).refuse(f"unknown section{suggestion(key, known) or home or '; remove it'}")
    return {section.name: _read_section(section, document.get(section.name), top, elsewhere) for section in SECTIONS}


def _read_section(section: Section, value: object, top: Spot, elsewhere: Mapping[str, str]) -> dict[str, Reading]:
    spot = top.inside(section.name)
    if section.shape == "table":
        return {"": read_table(section, {} if value is None else value, spot, elsewhere)}
    if value is None:
        return {}
    heading = HEADINGS[section.name]
    if section.shape == "list":
        if not isinstance(value, list):
            spot.refuse(f"{type_of(value)}; write {heading}, with two brackets")
            return {}
        numbered = enumerate(value, start=1)
        return {str(number): read_table(section, item, spot.item(number), elsewhere) for number, item in numbered}
    if not isinstance(value, dict):
        spot.refuse(f"{type_of(value)}; write {heading}")
        return {}
    readings: dict[str, Reading] = {}
    for name, item in value.items():
        inside = spot.inside(name)
        if not isinstance(item, dict) and name in section.keys:
            inside.refuse(f"an option without the {section.name[:-1]}'s name; write it under {heading}")
            continue
        if section.names is not None:
            section.names.read(name, inside)
        readings[name] = read_table(section, item, inside, elsewhere)
    return readings


def _built(section: Section, readings: Mapping[str, Reading]) -> Any:
    built = {name: section.build(name, reading) for name, reading in readings.items()}
    if section.shape == "table":
        return built[""]
    return tuple(built.values()) if section.shape == "list" else built
