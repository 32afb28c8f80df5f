"""Where a job's request goes: a path means "under the integration's api_base", with or without a leading slash."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from worker.errors import Misconfigured

_DEFAULT_PORTS = {"http": 80, "https": 443}


def resolve(api_base: str | None, path: str) -> str:
    """`/invoices` and `invoices` under `https://api.example/v1/` are `https://api.example/v1/invoices`.

    An absolute http or https URL is taken as it is. Raises Misconfigured for a path without an api_base.
    """
    if path.lower().startswith(("https://", "http://")):
        return path
    if not api_base:
        raise Misconfigured(
            f"the job asks for {path!r}, but its integration has no api_base",
            hint='set api_base = "https://…" under [integrations.NAME]',
        )
    return f"{api_base.rstrip('/')}/{path.lstrip('/')}"


def origin(url: str) -> str:
    """Scheme, host and port in one spelling (RFC 6454 section 4): `https://api.example:443`; "" for what is no URL."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        port = _DEFAULT_PORTS.get(scheme, 0) if parts.port is None else parts.port
    except ValueError:  # a port of a million, half an IPv6 address
        return ""
    return f"{scheme}://{(parts.hostname or '').lower()}:{port}"


def plain(url: str | None) -> str:
    """An address without what may be secret in it: credentials, query, fragment. "the other side" for what is none."""
    try:
        parts = urlsplit(url or "")
    except ValueError:  # as above
        return "the other side"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", "")) if host else "the other side"
