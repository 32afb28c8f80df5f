"""Answers of an API, as `requests` hands them on."""

from __future__ import annotations

import pytest
import requests


def _answer(status: int, url: str = "https://api.test/", **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code, response.url = status, url
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


@pytest.fixture
def answer():
    """Makes an answer with a status and headers."""
    return _answer
