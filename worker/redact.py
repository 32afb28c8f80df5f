"""Scrubbing. Two fences: the Secret type, which shows itself to nobody, and the Scrubber, which takes what it knows
to be secret (and what looks like it) out of any text on its way to a log, an error or the timeline.

The Scrubber is handed every secret when it is unsealed or received. It keeps them in memory only, in the spellings
in which they travel: plain, form- and URL-encoded, JSON-escaped and as HTTP Basic credentials.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASK = "[redacted]"

#: Shorter values are not searched for: masking a three-letter secret would mask half the text around it.
_SHORTEST = 6

#: Names whose value is secret wherever it stands: OAuth parameters (RFC 6749, 7636, 8628), and the usual suspects.
SECRET_NAMES = (
    "access_token", "refresh_token", "id_token", "client_secret", "code", "code_verifier", "device_code",
    "user_code", "assertion", "client_assertion", "password", "authorization", "proxy-authorization", "cookie",
    "set-cookie", "api_key", "apikey", "x-api-key", "token", "state", "nonce", "key", "secret", "session_token",
    "private_key",
)  # fmt: skip

#: Of these, the names that mean a secret in a log field too: a run has a state there, and a row its key.
TELLING_NAMES = frozenset(SECRET_NAMES) - {"code", "state", "key"}

#: `Bearer abc`, `Basic abc==`: the credentials of RFC 9110 section 11.4, token68 form.
_CREDENTIALS = re.compile(r"\b(Bearer|Basic|DPoP|MAC)\s+[A-Za-z0-9\-._~+/]{8,}=*", re.IGNORECASE)


def _listed(names: Iterable[str]) -> str:
    """`refresh_token`, `refresh-token` and `refreshToken` are one name."""
    return "|".join(re.escape(name).replace("_", "[_-]?") for name in names)


def _forms(names: Iterable[str]) -> re.Pattern[str]:
    """`refresh_token=abc` in a query, a form body or a repr: where bare `code`, `state` and `key` count as well."""
    # What is masked already is one value, brackets and all.
    value = rf"{re.escape(MASK)}|[^&\s\"'<>,;)\]}}]+"
    return re.compile(rf"(?<![\w-])({_listed(names)})=({value})", re.IGNORECASE)


def _members(names: Iterable[str]) -> re.Pattern[str]:
    """`"refresh_token": "abc"` in JSON or a Python repr."""
    return re.compile(rf"""(["'])({_listed(names)})\1(\s*:\s*)(["'])((?:\\.|(?!\4).)*)\4""", re.IGNORECASE)


_FORM, _JSON = _forms(SECRET_NAMES), _members(SECRET_NAMES)
_TELLING_FORM, _TELLING_JSON = _forms(sorted(TELLING_NAMES)), _members(sorted(TELLING_NAMES))
#: `<password>abc</password>` and `password="abc"` in XML. In our own sentences the latter is advice, not a secret.
_TELLING_ELEMENT = re.compile(
    rf"(<(?:[\w.-]+:)?(?:{_listed(sorted(TELLING_NAMES))})(?:\s[^<>]*)?>)[^<]+", re.IGNORECASE
)
_TELLING_ATTRIBUTE = re.compile(
    rf"""(?<![\w-])({_listed(sorted(TELLING_NAMES))})(\s*=\s*)(["'])(?:(?!\3)[^<>])*\3""", re.IGNORECASE
)
#: `user:password@` in a URL.
_USERINFO = re.compile(r"(?<=://)([^/\s:@]*):([^/\s]+)@")


class Secret:
    """A string that shows itself to nobody. `reveal()` is the one way in, and easy to search for."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that must send or seal it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled")


def scrub_patterns(text: str) -> str:
    """Take out what looks like a secret: credentials, OAuth parameters in forms and JSON, passwords in URLs."""
    return _masked(text, _JSON, _FORM)


def scrub_data(text: str) -> str:
    """The same for an API's data, where `code`, `state` and `key` are columns like any other."""
    text = _masked(text, _TELLING_JSON, _TELLING_FORM)
    text = _TELLING_ELEMENT.sub(rf"\1{MASK}", text)
    return _TELLING_ATTRIBUTE.sub(rf"\1\2\3{MASK}\3", text)


def _masked(text: str, members: re.Pattern[str], forms: re.Pattern[str]) -> str:
    text = _CREDENTIALS.sub(rf"\1 {MASK}", text)
    text = members.sub(rf"\1\2\1\3\4{MASK}\4", text)
    text = forms.sub(rf"\1={MASK}", text)
    return _USERINFO.sub(rf"\1:{MASK}@", text)


def scrub_fields(values: Mapping[str, object]) -> dict[str, object]:
    """A flat or nested mapping (headers, a JSON answer) with the values of secret names masked."""
    clean: dict[str, object] = {}
    for name, value in values.items():
        if name.lower() in SECRET_NAMES and not isinstance(value, bool | int | float):
            clean[name] = MASK
        elif isinstance(value, dict):
            clean[name] = scrub_fields(value)
        elif isinstance(value, list):
            clean[name] = [scrub_fields(item) if isinstance(item, dict) else item for item in value]
        elif isinstance(value, str):
            clean[name] = scrub_patterns(value)
        else:
            clean[name] = value
    return clean


class Scrubber:
    """Takes known secrets and look-alikes out of text. Thread-safe; learns every secret it is shown."""

    #: How many secrets are kept in mind, the least recently shown dropped first: a daemon with a hundred thousand
    #: accounts must not search every log line for every token it ever held. Look-alikes are masked regardless.
    LIMIT = 512

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def learn(self, *secrets: Secret | str | None) -> None:
        """Mask these from now on, in every spelling in which they travel."""
        with self._lock:
            for secret in secrets:
                value = secret.reveal() if isinstance(secret, Secret) else secret
                if value and len(value) >= _SHORTEST:
                    self._known[value] = _spellings(value)
                    self._known.move_to_end(value)
            while len(self._known) > self.LIMIT:
                self._known.popitem(last=False)

    def __call__(self, text: str) -> str:
        """`text` without secrets."""
        return scrub_patterns(self.mask_known(text))

    def mask_known(self, text: str) -> str:
        """`text` without the secrets that were shown; look-alikes stay."""
        with self._lock:
            known = list(self._known.values())
        for spellings in known:
            for spelling in spellings:
                if spelling in text:
                    text = text.replace(spelling, MASK)
        return text


def _spellings(value: str) -> tuple[str, ...]:
    spellings = {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1]}
    return tuple(sorted(spellings, key=len, reverse=True))
