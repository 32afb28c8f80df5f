"""Questions about paths that come from a config file and may be anything. pathlib raises on a name that is too long or
in a folder that may not be searched; here the answer is no. Nor can pathlib take `..` out of a path.
"""

from __future__ import annotations

import os.path
from pathlib import Path


def normal(path: Path) -> Path:
    """The path without `.` and `..`, symbolic links left alone."""
    # POSIX gives two leading slashes a meaning of their own; Linux does not.
    return Path(os.path.normpath(path).replace("//", "/"))


def exists(path: Path) -> bool:
    """Whether something stands there that we can see."""
    return os.path.exists(path)  # noqa: PTH110 - see the module's docstring


def is_file(path: Path) -> bool:
    """Whether a regular file stands there."""
    return os.path.isfile(path)  # noqa: PTH113 - see the module's docstring


def is_folder(path: Path) -> bool:
    """Whether a folder stands there."""
    return os.path.isdir(path)  # noqa: PTH112 - see the module's docstring
