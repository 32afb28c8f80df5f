"""Running an operator's command with care: for a secret from its output (`pass`, `op`, `vault`, `gpg`), or to hand it
a message. No shell: the words are run as they stand, so nothing in them is expanded, and a pipe needs an explicit
`["sh", "-c", "…"]`.

The command gets the worker's environment and the config file's folder as its working directory, but no standard
input unless something is given to it: in a service there is nobody to answer a prompt, so one must fail rather than
wait.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import IO, TYPE_CHECKING, Final, cast

from worker.config.secret_files import LARGEST_SECRET
from worker.errors import Misconfigured, TryAgainLater
from worker.redact import MASK, scrub_patterns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Seconds. A password manager that is unlocked answers in one or two; a locked one waits for a human for ever.
COMMAND_TIMEOUT: Final = 10.0
_SHOWN_ERROR = 300
_READ_SIZE = 16 * 1024


def run_command(
    argv: Sequence[str],
    place: str,
    environ: Mapping[str, str],
    folder: Path,
    timeout: float = COMMAND_TIMEOUT,
    given: bytes = b"",
) -> bytes:
    """What the command prints, at most 64 KiB. Its whole process group is killed when it takes too long.

    `given` is what it finds on its standard input; it may leave that unread.

    Raises Misconfigured when it cannot be started, fails or prints too much, with the end of its standard error,
    scrubbed; TryAgainLater when it does not end in time.
    """
    try:
        process = _start(argv, environ, folder, reads=bool(given))
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a command"
        raise Misconfigured(f"{place}: cannot start {argv[0]!r}: {reason}") from None
    with process:
        try:
            output, errors = _collect(process, given, time.monotonic() + timeout)
        except TimeoutError:
            raise TryAgainLater(
                f"{place}: {argv[0]!r} did not end within {timeout:g} s; does it wait for a password or a network?"
            ) from None
        finally:
            _end(process)
    if max(len(output), len(errors)) > LARGEST_SECRET:
        raise Misconfigured(f"{place}: {argv[0]!r} printed more than {LARGEST_SECRET // 1024} KiB")
    if process.returncode != 0:
        raise Misconfigured(f"{place}: {argv[0]!r} {_ending(process.returncode)}{_said(errors, output)}")
    return output


def _start(argv: Sequence[str], environ: Mapping[str, str], folder: Path, *, reads: bool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the operator's own command, from the operator's own config
        list(argv),
        stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=dict(environ),
        start_new_session=True,
    )


def _collect(process: subprocess.Popen[bytes], given: bytes, deadline: float) -> tuple[bytes, bytes]:
    """Standard output and error until both end. Raises TimeoutError; stops early when either grows too large."""
    pipes: list[IO[bytes]] = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
    texts = {pipe.fileno(): bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map() and all(len(text) <= LARGEST_SECRET for text in texts.values()):
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fd in texts:
                    chunk = os.read(key.fd, _READ_SIZE)
                    texts[key.fd] += chunk
                    going_on = bool(chunk)
                else:
                    given = given[_hand_over(key.fd, given) :]
                    going_on = bool(given)
                if not going_on:
                    selector.unregister(key.fileobj)
                    cast("IO[bytes]", key.fileobj).close()
        if not selector.get_map():
            _wait(process, deadline)
    output, errors = texts.values()
    return bytes(output), bytes(errors)


def _hand_over(descriptor: int, given: bytes) -> int:
    """Write as much as the pipe takes; all of it counts as taken by a command that does not want to read."""
    try:
        return os.write(descriptor, given[:_READ_SIZE])
    except BrokenPipeError:
        return len(given)


def _wait(process: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None


def _end(process: subprocess.Popen[bytes]) -> None:
    # Not `poll`: a command that has ended may have left a child behind, which holds its output open. As long as nobody
    # has asked for its exit code, its number is nobody else's, and the group can be killed.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ending(code: int) -> str:
    return f"failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"


def _said(errors: bytes, output: bytes) -> str:
    """The end of standard error, scrubbed: of what looks secret, and of whatever was printed as the secret."""
    text = errors.decode("utf-8", "replace").strip()
    printed = output.decode("utf-8", "replace").strip()
    if printed:
        text = text.replace(printed, MASK)
    text = scrub_patterns(" ".join(text.split()))
    text = "".join(character if character.isprintable() else "?" for character in text)
    return f': "{text[-_SHOWN_ERROR:]}"' if text else ""
