"""A gigabyte, sent or unpacked, to everything that asks: refused in words, at the price of a few megabytes."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hostile_process import BODIES, WAYS
from scripted_server import Answer, ScriptedServer

pytestmark = pytest.mark.slow

GIGABYTE = 1 << 30
BLOCK = b" " * (1 << 20)
#: MiB. What is read at most is 32; what is read of a gigabyte by mistake is a thousand.
MOST = 150


def packed(wbits: int) -> bytes:
    """A gigabyte of blanks."""
    packer = zlib.compressobj(1, wbits=wbits)
    parts = [packer.compress(BLOCK) for _ in range(GIGABYTE // len(BLOCK))]
    return b"".join([*parts, packer.flush()])


def gzip_of(data: bytes) -> bytes:
    """Packed once more."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as file:
        file.write(data)
    return out.getvalue()


class Bombs(ScriptedServer):
    """Answers by the first part of the path: which body; and by the rest: which status."""

    def __init__(self) -> None:
        once = packed(31)
        self._packed = {
            "gzip": ("gzip", once),
            "gzip-twice": ("gzip, gzip", gzip_of(once)),
            "deflate": ("deflate", packed(15)),
        }
        super().__init__(Answer(raw=self._answer))

    def _answer(self, handler) -> None:
        kind = handler.path.split("/")[1]
        status = 401 if "rejected" in handler.path else 200
        encoding, body = self._packed.get(kind, ("", b""))
        head = f"HTTP/1.1 {status} Fine\r\nContent-Type: application/json\r\nConnection: close\r\n"
        if encoding:
            head += f"Content-Encoding: {encoding}\r\nTransfer-Encoding: chunked\r\n"
        elif kind == "chunked":
            head += "Transfer-Encoding: chunked\r\n"
        with contextlib.suppress(OSError):
            handler.wfile.write(f"{head}\r\n".encode())
            if encoding:
                handler.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
                return
            for _ in range(GIGABYTE // len(BLOCK)):
                frame = (f"{len(BLOCK):x}\r\n".encode(), b"\r\n") if kind == "chunked" else (b"", b"")
                handler.wfile.write(frame[0] + BLOCK + frame[1])


@pytest.fixture(scope="module")
def results(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What became of every body in every way, in one process."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "state").mkdir(mode=0o700)
    shutil.copy(_sqlite_template, folder / "state" / "worker.db")
    bombs = Bombs()
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            [sys.executable, str(here / "hostile_process.py"), bombs.origin, str(folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path]), "NO_PROXY": "*"},
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
    finally:
        bombs.close()
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return dict(json.loads(done.stdout))


EVERY = [f"{body} {way}" for body in BODIES for way in WAYS]


@pytest.mark.parametrize("what", EVERY)
def test_gigabyte_costs_little_memory(results, what):
    """However it is sent, packed or asked for."""
    assert results[what]["grown"] < MOST


@pytest.mark.parametrize("what", EVERY)
def test_gigabyte_is_refused_and_costs_no_grant(results, what):
    """In words, without a secret in them; nobody is asked to consent again."""
    said = str(results[what]["said"])
    refusals = ("TryAgainLater", "EnrolmentFailed", "NotTold", "WorkerError", "UnreadableError")
    assert said.partition(":")[0] in refusals, said
    assert "refresh-token-1" not in said
    assert "access-token-1" not in said
    assert results[what]["state"] in {"active", "in_doubt"}
