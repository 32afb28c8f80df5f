"""Options and sections: the declarative half of the config. Everything that can be said about an option stands in one
Option; reading, the example file and the reference are made from it, so they cannot drift apart.

A secret option `x` is four keys in the file: `x_file`, `x_env` and `x_command` name where it is, `x` is the secret
itself, which is allowed but draws a warning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from worker.config.faults import UNREAD, Spot, nearest
from worker.config.kinds import COMMAND, Kind, text
from worker.config.secrets import SecretSource
from worker.redact import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECRET_KINDS: dict[str, Kind] = {
    "file": text(r"[^~].*", 'the name of the file that holds it ("~" is not expanded)', label="path"),
    "env": text(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable, without $", label="variable name"),
    "command": COMMAND,
    "literal": text(),
}
_SUFFIXES = {"_file": "file", "_env": "env", "_command": "command", "": "literal"}


@dataclass(frozen=True)
class Option:
    """One option of a section."""

    name: str
    kind: Kind
    #: One to three sentences for the example file and the reference.
    summary: str
    #: As it would stand in the file; None means there is none.
    default: Any = None
    #: As it would stand in the file; without one, the default is shown.
    example: Any = None
    required: bool = False
    #: See the module's docstring; the value is read into a SecretSource.
    secret: bool = False
    #: Only sometimes secret: no warning when it stands in the file, a rule of the section decides.
    quiet: bool = False
    #: Excludes another option, so the example file only mentions it.
    alternative: bool = False
    #: Known, but of no use in this version: left out of the documentation.
    later: bool = False
    #: What people write instead, for the suggestion.
    aliases: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of this option in the file."""
        return tuple(self.name + suffix for suffix in _SUFFIXES) if self.secret else (self.name,)


@dataclass
class Reading:
    """One table, read: `values` has every option, absent and faulty ones with their default."""

    spot: Spot
    values: dict[str, Any] = field(default_factory=dict)
    #: Options that stand in the file, faulty or not.
    given: set[str] = field(default_factory=set)
    #: Options that had a fault, so that no rule complains about their absence.
    faulty: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def lacks(self, name: str) -> bool:
        """Whether the option has no value and nobody has complained about it yet."""
        return self.values[name] is None and name not in self.faulty

    def refuse(self, name: str, what: str) -> None:
        """Note a problem with an option."""
        self.faulty.add(name)
        self.spot.inside(name).refuse(what)

    def doubt(self, name: str, what: str) -> None:
        """Note a warning about an option."""
        self.spot.inside(name).doubt(what)


@dataclass(frozen=True)
class Section:
    """One kind of table."""

    name: str
    #: `[name]`, `[name.NAME]` or `[[name]]`.
    shape: Literal["table", "named", "list"]
    summary: str
    options: tuple[Option, ...]
    #: Makes the model's dataclass of a reading without faults; the name is empty unless the shape is `named`.
    build: Callable[[str, Reading], Any]
    #: What holds between options.
    rules: tuple[Callable[[Reading], None], ...] = ()
    #: Fills in values from elsewhere (a preset) before anything is read.
    prepare: Callable[[Mapping[str, object], Spot], Mapping[str, object]] | None = None
    #: A rule for NAME, and what to write.
    names: Kind | None = None
    #: NAME in the example file.
    example_name: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """Every key that may stand in such a table -> the option it belongs to."""
        return {key: option.name for option in self.options for key in option.keys}


#: Section -> name -> reading. Single tables have the name "", items of a list are named by number.
Readings = dict[str, dict[str, Reading]]


def read_table(section: Section, value: object, spot: Spot, elsewhere: Mapping[str, str]) -> Reading:
    """Read one table. `elsewhere` maps the keys of the other sections to where they belong, for suggestions."""
    if not isinstance(value, dict):
        brackets = "[[{}]]" if section.shape == "list" else "[{}]"
        spot.mistyped(value, f"a table, headed {brackets.format(spot.place.partition('[')[0])}")
        return unread(section, spot)
    reading = Reading(spot, {option.name: None for option in section.options})
    _refuse_unknown(section, value, spot, elsewhere)
    reading.given = {section.keys[key] for key in value if key in section.keys}
    table = section.prepare(value, spot) if section.prepare else value
    for option in section.options:
        _read_option(option, table, reading)
    for rule in section.rules:
        rule(reading)
    return reading


def unread(section: Section, spot: Spot) -> Reading:
    """What stands for a table that could not be read at all."""
    names = [option.name for option in section.options]
    return Reading(spot, dict.fromkeys(names), faulty=set(names))


def _read_option(option: Option, table: Mapping[str, object], reading: Reading) -> None:
    if option.secret:
        _read_secret(option, table, reading)
        return
    value = table.get(option.name, option.default)
    if value is None:
        if option.required:
            reading.refuse(option.name, f"missing; write {option.name} = {_hint(option)}")
        return
    read = option.kind.read(value, reading.spot.inside(option.name))
    if read is UNREAD:
        reading.faulty.add(option.name)
        if option.default is not None and option.name in table:
            read = option.kind.read(option.default, reading.spot.inside(option.name))
    reading.values[option.name] = None if read is UNREAD else read


def _hint(option: Option) -> str:
    from worker.config.toml_text import to_toml  # noqa: PLC0415 - only after a fault

    return to_toml(option.example) if option.example is not None else f"a {option.kind.label}"


def _read_secret(option: Option, table: Mapping[str, object], reading: Reading) -> None:
    present = [suffix for suffix in _SUFFIXES if option.name + suffix in table]
    if not present:
        if option.default is not None:
            spot = reading.spot.inside(option.name)
            reading.values[option.name] = _source("literal", option.kind.read(option.default, spot), spot.place)
        return
    elsewhere = [option.name + suffix for suffix in present if suffix]
    if len(elsewhere) > 1:
        reading.refuse(elsewhere[1], f"given beside {elsewhere[0]}; keep one of the two")
        reading.faulty.add(option.name)
        return
    # The one that is not in the file wins (it stands first in _SUFFIXES).
    suffix = present[0]
    key = option.name + suffix
    kind = _SECRET_KINDS[_SUFFIXES[suffix]] if suffix else option.kind
    spot = replace(reading.spot.inside(key), secret=not suffix)
    value = kind.read(table[key], spot)
    if value is UNREAD:
        reading.faulty.add(option.name)
        return
    reading.values[option.name] = _source(_SUFFIXES[suffix], value, spot.place)
    if "" in present and (suffix or not option.quiet):
        mend = "remove it" if suffix else f"use {option.name}_file, {option.name}_env or {option.name}_command"
        note = f"is not used: {key} wins" if suffix else "stands in the file in clear text"
        reading.doubt(option.name, f"a secret that {note}; {mend}")


def _source(kind: str, value: Any, place: str) -> SecretSource:
    if kind == "command":
        return SecretSource("command", " ".join(value), place, argv=value)
    if kind == "literal":
        return SecretSource("literal", "", place, literal=Secret(value))
    return SecretSource("env" if kind == "env" else "file", value, place)


def _refuse_unknown(section: Section, table: Mapping[str, object], spot: Spot, elsewhere: Mapping[str, str]) -> None:
    known = {**{key: key for key in section.keys}}
    for option in section.options:
        known.update(dict.fromkeys(option.aliases, option.name))
    for key in table:
        if key in section.keys:
            continue
        match = nearest(key, known)
        if match:
            spot.inside(key).refuse(f'unknown option; did you mean "{known[match]}"?')
        elif key in elsewhere:
            spot.inside(key).refuse(f"unknown option here; it belongs in {elsewhere[key]}")
        else:
            spot.inside(key).refuse("unknown option; remove it (worker config example lists them all)")
