"""Asking an issuer for what it publishes: every address at which that may lie, but a host that is silent only once.

Up to four addresses of one host are asked. One that hangs takes a whole read timeout, and the others would as well, so
the first that is not even answered ends the asking, unless the connection stood and merely broke.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

from worker.accounts.bounded import BrokenOffError
from worker.accounts.network_words import did_not_answer, what_happened
from worker.errors import Misconfigured, TryAgainLater
from worker.oauth.metadata import ProviderMetadata, merge_metadata, metadata_urls
from worker.redact import scrub_patterns

if TYPE_CHECKING:
    from collections.abc import Callable

    #: A JSON object, or the status of what came instead of one. Raises requests.RequestException, ValueError.
    Fetch = Callable[[str], dict[str, object] | int]

#: Answers that speak of the server's state, not of the address.
_PASSING, _SERVER_ERROR = frozenset({408, 425, 429}), 500


def discover(name: str, issuer: str, fetch: Fetch) -> ProviderMetadata:
    """What the issuer of integration `name` publishes.

    Raises TryAgainLater when it cannot be reached or cannot answer now, Misconfigured when there is nothing at it.
    """
    documents: list[dict[str, object]] = []
    statuses: dict[str, int] = {}
    errors: dict[str, Exception] = {}
    for url in metadata_urls(issuer):
        try:
            found = fetch(url)
        except (requests.RequestException, ValueError) as error:
            errors[url] = error
            if _is_silent(error):
                break
            continue
        if isinstance(found, dict):
            documents.append(found)
        else:
            statuses[url] = found
    if documents:
        # One of the addresses tried may be another issuer's on the same host.
        own = [document for document in documents if document.get("issuer") == issuer]
        return merge_metadata(issuer, own or documents)
    if errors and not statuses:
        raise _out_of_reach(name, issuer, next(iter(errors.values())))
    raise _nothing_there(name, statuses, errors)


def _is_silent(error: Exception) -> bool:
    """Whether the host is not there, or hangs: then its other addresses are not waited for."""
    apart = BrokenOffError | requests.exceptions.SSLError | requests.exceptions.ProxyError
    return isinstance(error, apart) or did_not_answer(error)


def _out_of_reach(name: str, issuer: str, error: Exception) -> TryAgainLater:
    return TryAgainLater(
        f"integration {name}: {issuer} cannot be reached: it {scrub_patterns(what_happened(error))}",
        hint="nothing to do if it is the provider; otherwise look at network, proxy and issuer",
        evidence={"fault": type(error).__name__, "detail": scrub_patterns(str(error))[:300]},
    )


def _nothing_there(name: str, statuses: dict[str, int], errors: dict[str, Exception]) -> TryAgainLater | Misconfigured:
    found = [f"{url}: {status}" for url, status in statuses.items()]
    found += [f"{url} {scrub_patterns(what_happened(error))}" for url, error in errors.items()]
    passing = errors or any(status in _PASSING or status >= _SERVER_ERROR for status in statuses.values())
    kind = TryAgainLater if passing else Misconfigured
    return kind(
        f"integration {name}: no metadata at the issuer ({'; '.join(found)})",
        hint="look at issuer, or set authorize_url and token_url by hand",
    )
