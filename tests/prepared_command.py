"""The `worker` command out of a process that has imported everything already and forks for each call.

A short command spends nine tenths of its time on imports. What runs here is the same `main`, in a process of its own,
with its own arguments, environment, folder and streams. What an import does, and when,
is not seen this way: the story, the demo and the secrets are played with the installed command.

As a program (`prepared_command.py DESCRIPTOR`) it is that process. It ends with the one that started it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Not imported ahead: a program of its own, and what is no module of the command.
_LEFT_OUT = ("worker.sandbox", "worker.testing", "worker.__main__")
_LARGEST_REQUEST = 1 << 20


def run_prepared(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], given: str, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `worker ARGUMENTS` to its end. Raises subprocess.TimeoutExpired after `timeout` seconds, and kills it."""
    request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}).encode()
    with tempfile.TemporaryFile() as taken, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        taken.write(given.encode())
        taken.seek(0)
        answer, told = os.pipe()
        try:
            socket.send_fds(_server(os.getpid()), [request], [taken.fileno(), out.fileno(), err.fileno(), told])
        finally:
            os.close(told)
        with os.fdopen(answer, "rb", buffering=0) as reader:
            code = _wait(reader, list(arguments), timeout)
        return subprocess.CompletedProcess(["worker", *arguments], code, _content(out), _content(err))


@cache
def _server(_process: int) -> socket.socket:
    """Our end of the line to the process that forks; one for each process of the tests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-W", "error::ResourceWarning", __file__, str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _wait(reader: IO[bytes], arguments: list[str], timeout: float) -> int:
    """The exit code as subprocess has it, negative for a signal."""
    deadline, heard = time.monotonic() + timeout, b""
    while heard.count(b"\n") < 2:
        ready, _, _ = select.select([reader], [], [], max(deadline - time.monotonic(), 0))
        part = reader.read(100) if ready else None
        if part == b"":
            raise RuntimeError(f"worker {arguments}: the process that forks has gone")
        if part is None:
            if heard.count(b"\n"):
                os.kill(int(heard.split()[0]), signal.SIGKILL)
            raise subprocess.TimeoutExpired(["worker", *arguments], timeout)
        heard += part
    return int(heard.split()[1])


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _next_call(line: socket.socket) -> dict[str, Any]:
    """Fork for each request; returns in the child that is to carry it out. Ends when nobody asks any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(line, _LARGEST_REQUEST, 4)
        if not message:
            os._exit(0)
        if os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        line.close()
        *streams, told = descriptors
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child = os.fork()
        if child:
            os.write(told, f"{child}\n".encode())
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.write(told, f"{code}\n".encode())
            os._exit(0)
        os.close(told)
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        call: dict[str, Any] = json.loads(message)
        return call


def _import_everything() -> None:
    import importlib
    import pkgutil

    import worker

    for module in pkgutil.walk_packages(worker.__path__, "worker."):
        if not module.name.startswith(_LEFT_OUT) and ".data" not in module.name:
            importlib.import_module(module.name)


def _carry_out(call: dict[str, Any]) -> int:
    os.chdir(call["cwd"])
    os.environ.clear()
    os.environ.update(call["env"])
    time.tzset()
    sys.argv = ["worker", *call["arguments"]]
    from worker.cli.main import main

    try:
        main()
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        sys.stderr.write(f"{leaving.code}\n")
    except BaseException:  # noqa: BLE001 - as the interpreter does with what nobody catches
        traceback.print_exc()
    return 1


if __name__ == "__main__":
    _import_everything()
    gc.freeze()
    _code = _carry_out(_next_call(socket.socket(fileno=int(sys.argv[1]))))
    # As the interpreter ends, but for the taking apart of all that was imported.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_code)
