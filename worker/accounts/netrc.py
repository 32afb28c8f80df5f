"""No credentials but those that are given: requests looks into netrc wherever it is told of none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests


def given_only(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An `auth` that leaves the request as it is. Being one at all is what keeps netrc out."""
    return request
