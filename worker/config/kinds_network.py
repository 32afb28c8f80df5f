"""Kinds of values about the network: URLs, origins, listening addresses, HTTP headers, rate limits.

Whether plain http is allowed is not decided here: it depends on the integration's `allow_http`. `insecure` tells.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from worker.config.durations import UNITS, DurationFault, parse_duration
from worker.config.faults import UNREAD
from worker.config.kinds import Kind
from worker.config.model import RateLimit

if TYPE_CHECKING:
    from worker.config.faults import Spot

#: Hosts which a packet reaches without leaving this machine (RFC 8252 section 7.3 and 8.3).
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|[0-9A-Fa-f:.]+")
#: Headers that the worker sets itself, lower case.
_OWN_HEADERS = frozenset({"authorization", "host", "content-length", "cookie"})
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_RATE = re.compile(r"\s*(\d{1,9})\s*/\s*([0-9a-z.]+)\s*(?:(?:,\s*)?per\s+(account|integration|host))?\s*", re.ASCII)
_RATE_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "sec": 1, "min": 60}
_RATE_RIGHT = 'COUNT/UNIT such as "300/minute", "10/second" or "100/30s per account"'


def _split(value: object, spot: Spot, example: str) -> Any:
    """A URL taken apart, or UNREAD. The message never quotes a URL's password."""
    if not isinstance(value, str):
        return spot.mistyped(value, f'a URL such as "{example}"')
    if not value.isascii() or not value.isprintable() or " " in value:
        return spot.refuse(f'{spot.shown(value)} has a space or a character that URLs do not; write "{example}"')
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return spot.refuse(f'{spot.shown(value)} is no URL; write "{example}"')
    if not parts.scheme:
        return spot.refuse(f'{spot.shown(value)} is no whole URL; write "{example}"')
    if "@" in parts.netloc:
        return spot.refuse("a user name or password in a URL; remove it")
    return parts


def _web(value: object, spot: Spot, example: str) -> Any:
    parts = _split(value, spot, example)
    if parts is UNREAD:
        return UNREAD
    if parts.scheme not in _DEFAULT_PORTS:
        return spot.refuse(f'{spot.shown(value)} is not an https address; write "{example}"')
    if not parts.hostname or not _HOST.fullmatch(parts.hostname):
        return spot.refuse(f'{spot.shown(value)} names no host; write "{example}"')
    return parts


def url(example: str = "https://auth.example.com/oauth/token") -> Kind:
    """An absolute http or https URL without a fragment."""

    def read(value: object, spot: Spot) -> Any:
        parts = _web(value, spot, example)
        if parts is UNREAD:
            return UNREAD
        if parts.fragment or str(value).endswith("#"):
            return spot.refuse(f'{spot.shown(value)} has a fragment; remove "#" and what follows')
        return value

    return Kind("URL", read)


def _read_redirect_uri(value: object, spot: Spot) -> Any:
    parts = _split(value, spot, "https://worker.example.org/callback")
    if parts is UNREAD:
        return UNREAD
    if parts.scheme in _DEFAULT_PORTS and not parts.hostname:
        return spot.refuse(f"{spot.shown(value)} names no host; write the redirect URI as the provider has it")
    if parts.fragment or str(value).endswith("#"):
        return spot.refuse(f"{spot.shown(value)} has a fragment, which RFC 6749 section 3.1.2 rules out; remove it")
    return value


#: Any scheme: apps register their own (RFC 8252 section 7.1).
REDIRECT_URI = Kind("URL", _read_redirect_uri)


def _read_origin(value: object, spot: Spot) -> Any:
    parts = _web(value, spot, "https://api.example.com")
    if parts is UNREAD:
        return UNREAD
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return spot.refuse(f'{spot.shown(value)} is more than an origin; write "{origin_of(str(value))}"')
    return origin_of(str(value))


ORIGIN = Kind("origin (https://host)", _read_origin)


def origin_of(address: str) -> str:
    """Scheme, host and port of a URL, lower case, without a port that goes without saying (RFC 6454 section 6.2)."""
    parts = urlsplit(address)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def insecure(address: str) -> bool:
    """Whether what is sent there can be read on the way: plain http to a host that is not this one."""
    parts: SplitResult = urlsplit(address)
    return parts.scheme == "http" and (parts.hostname or "") not in LOOPBACK_HOSTS


def _read_listen(value: object, spot: Spot) -> Any:
    right = 'HOST:PORT such as "127.0.0.1:8700"'
    if not isinstance(value, str):
        return spot.mistyped(value, right)
    host, colon, port = value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    fits = _HOST.fullmatch(bare) and (":" not in bare or bare != host)
    if not (colon and fits and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):  # noqa: PLR2004 - the largest port
        return spot.refuse(f"{spot.shown(value)} is no address to listen on; write {right}")
    return value


LISTEN = Kind("HOST:PORT", _read_listen)


def _read_header_name(value: object, spot: Spot) -> Any:
    if not isinstance(value, str):
        return spot.mistyped(value, 'the name of a header such as "X-Access-Token"')
    if not _HEADER_NAME.fullmatch(value):
        return spot.refuse(f"{spot.shown(value)} is no header name; write letters, digits and dashes")
    if value.lower() in _OWN_HEADERS - {"authorization"}:
        return spot.refuse(f"{spot.shown(value)} has a meaning of its own; write the header that the API documents")
    return value


HEADER_NAME = Kind("header name", _read_header_name)


def _read_headers(value: object, spot: Spot) -> Any:
    if not isinstance(value, dict):
        return spot.mistyped(value, 'a table such as { Accept = "application/json" }')
    clean: dict[str, str] = {}
    for name, content in value.items():
        place = spot.inside(name)
        if not _HEADER_NAME.fullmatch(name):
            place.refuse("is no header name; write letters, digits and dashes")
        elif name.lower() in _OWN_HEADERS:
            place.refuse("the worker sets this header itself; remove it")
        elif not isinstance(content, str):
            place.mistyped(content, "it in quotes")
        elif not content.isascii() or not content.isprintable():
            place.refuse("holds a character that headers do not; write one line of ASCII text")
        elif name.lower() in (known.lower() for known in clean):
            place.refuse("is there already in another spelling; remove one of the two")
        else:
            clean[name] = content
    return clean if len(clean) == len(value) else UNREAD


HEADERS = Kind("table of text", _read_headers)


def _read_rate_limits(value: object, spot: Spot) -> Any:
    if isinstance(value, str):
        value = [value]
    elif not isinstance(value, list):
        return spot.mistyped(value, f"{_RATE_RIGHT}, or a list of such")
    places = [spot] if len(value) == 1 else [spot.item(number) for number in range(1, len(value) + 1)]
    read = [_read_rate_limit(item, place) for item, place in zip(value, places, strict=True)]
    return UNREAD if UNREAD in read else tuple(dict.fromkeys(read))


def _read_rate_limit(value: object, spot: Spot) -> Any:
    if not isinstance(value, str):
        return spot.mistyped(value, _RATE_RIGHT)
    match = _RATE.fullmatch(value.lower())
    seconds = _rate_unit(match[2]) if match else None
    if match is None or not seconds or int(match[1]) == 0:
        return spot.refuse(f"{spot.shown(value)} is no rate; write {_RATE_RIGHT}")
    per: Any = match[3] or "integration"
    return RateLimit(int(match[1]), seconds, per)


def _rate_unit(unit: str) -> float | None:
    """Seconds: of a word (`minute`), a letter (`m`) or a duration (`30s`)."""
    if unit in _RATE_UNITS:
        return float(_RATE_UNITS[unit])
    if unit in UNITS:
        return float(UNITS[unit])
    try:
        return parse_duration(unit)
    except DurationFault:
        return None


RATE_LIMITS = Kind('rate such as "300/minute", or a list', _read_rate_limits)
