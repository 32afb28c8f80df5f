"""Reading a job file that nobody else could have written: the file and its folder belong to this user or to root, and
neither group nor others may write to them. The check is made on the open file, not on its name, so that nothing can
be swapped in between.

On a read-only file system (an image, a ConfigMap, a `:ro` mount) owner and mode say nothing: container runtimes show
the host's, often 0777 or a user unknown here. There, whoever made the mount has decided.
"""

from __future__ import annotations

import ast
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes. A job is a page of code; what is larger was put there by mistake.
_LARGEST = 2**20
_FOREIGN_WRITERS = stat.S_IWGRP | stat.S_IWOTH


class FileRefused(Exception):
    """The message says what was found and what to do."""


def trust_folder(folder: Path) -> None:
    """Raise FileRefused when somebody else can put files into `folder`, OSError when it is not there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _trust(descriptor, str(folder))
    finally:
        os.close(descriptor)


def read_trusted(path: Path) -> bytes:
    """The content of a file that nobody else can write. Raises FileRefused, and OSError when it cannot be read."""
    # Without O_NONBLOCK, opening a pipe of that name would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileRefused("is no regular file")
        _trust(descriptor, str(path))
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise FileRefused(f"is larger than {_LARGEST} bytes, which is no job")
    return content


def shadowed_jobs(source: bytes, path: Path) -> list[tuple[str, int]]:
    """Decorated functions at the top of a file that take the name of an earlier one: (name, line). The earlier one
    would vanish without a trace. Raises SyntaxError, or ValueError for bytes that are no source at all.
    """
    seen: set[str] = set()
    shadowed: list[tuple[str, int]] = []
    for statement in ast.parse(source, str(path)).body:
        if isinstance(statement, ast.FunctionDef) and statement.decorator_list:
            if statement.name in seen:
                shadowed.append((statement.name, statement.lineno))
            seen.add(statement.name)
    return shadowed


def _trust(descriptor: int, name: str) -> None:
    if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        return
    found = os.fstat(descriptor)
    if found.st_uid not in {0, os.geteuid()}:
        raise FileRefused(
            f"belongs to user {found.st_uid}, neither to root nor to the worker's user {os.geteuid()}; chown it"
        )
    if found.st_mode & _FOREIGN_WRITERS:
        raise FileRefused(f"may be written by others (mode {stat.S_IMODE(found.st_mode):04o}); chmod go-w {name}")
