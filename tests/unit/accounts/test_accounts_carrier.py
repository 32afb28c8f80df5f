"""What may be sent twice."""

from __future__ import annotations

import io

import pytest
import requests

from worker.accounts.carrier import Carrier, is_stream, replayable
from worker.errors import BodyNotReplayable


def prepared(**kwargs) -> requests.PreparedRequest:
    return requests.Request("POST", "http://api.example/x", **kwargs).prepare()


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"data": "text"}, {"data": b"bytes"}, {"data": {"a": "b"}}, {"data": bytearray(b"x")}, {"json": [1]}],
)
def test_plain_bodies_are_replayable_as_they_are(kwargs):
    """Nothing of them is consumed."""
    request = prepared(**kwargs)
    assert not is_stream(request)
    assert replayable(request) is request


def test_file_is_rewound_to_where_it_stood():
    """Which need not be its start."""
    file = io.BytesIO(b"header payload")
    file.seek(7)
    request = prepared(data=file)
    file.read()
    assert replayable(request).body.read() == b"payload"


class Pipe(io.RawIOBase):
    """Reads, but knows no place."""

    def readable(self):
        return True

    def readinto(self, buffer):
        return 0


@pytest.mark.parametrize("body", [iter([b"a"]), (part for part in (b"a",)), Pipe()])
def test_streams_without_a_place_are_not_replayable(body):
    """The error says what to send instead."""
    request = prepared(data=body)
    assert is_stream(request)
    with pytest.raises(BodyNotReplayable) as caught:
        replayable(request)
    assert "generator" in caught.value.hint


def test_carrier_closes_all_its_connections():
    """Those for streams too."""
    carrier = Carrier(lambda: None)
    carrier.close()
    assert (len(carrier.poolmanager.pools), len(carrier._once.poolmanager.pools)) == (0, 0)
