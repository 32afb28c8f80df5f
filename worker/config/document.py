"""From a file's bytes to a TOML document, or to one problem that says on which line it is not TOML.

tomllib's messages are kept, without quoting the line: it may hold a secret.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from worker.errors import ConfigProblems, Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

#: A config of a hundred integrations has some 100 kB; beyond this it is some other file.
LARGEST = 16 * 1024 * 1024

_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_TWICE = ("Cannot overwrite a value", "Cannot declare", "Cannot mutate", "Duplicate inline table key")


def read_document(path: Path) -> dict[str, Any]:
    """The file as nested tables. Raises Misconfigured when it cannot be read, ConfigProblems when it is not TOML."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the name holds a zero byte"
        raise Misconfigured(f"{path} cannot be read: {(reason or 'unknown reason').lower()}") from None
    if len(content) > LARGEST:
        raise Misconfigured(f"{path} is larger than {LARGEST // 1024 // 1024} MiB; is it the right file?")
    return parse_document(content, str(path))


def parse_document(content: bytes, name: str) -> dict[str, Any]:
    """TOML 1.0 in UTF-8, a byte order mark allowed. Raises ConfigProblems."""
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigProblems(name, [(f"line {line}", "not UTF-8; save the file as UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigProblems(name, [_located(str(error))]) from None
    except RecursionError:
        raise ConfigProblems(name, [("file", "nested too deeply; write fewer brackets inside each other")]) from None
    except ValueError:
        # int() refuses more digits than sys.get_int_max_str_digits().
        raise ConfigProblems(name, [("file", "holds a number with too many digits; write a shorter one")]) from None


def _located(message: str) -> tuple[str, str]:
    match = _AT.search(message)
    what = (message[: match.start()] if match else message).rstrip(".")
    place = f"line {match[1]}, column {match[2]}" if match and match[1] else "end of file"
    if what.startswith(_TWICE):
        return place, f"this key or table is in the file already; keep one of the two ({_lower(what)})"
    return place, f"not TOML: {_lower(what)}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
