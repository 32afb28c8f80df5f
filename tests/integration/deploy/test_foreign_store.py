"""A store that belongs to another user. Root could open it, and would leave locks that its owner then cannot open."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: A user that is not us; it need not exist.
SOMEBODY = 61184


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away, and only root could open them then")
def test_store_of_another_user_is_refused(tmp_path):
    """With both users in the message, and nothing written beside it."""

    def worker(*words):
        return subprocess.run(
            [sys.executable, "-m", "worker", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    worker("init", ".")
    worker("store", "migrate")
    for path in (tmp_path / "state", *(tmp_path / "state").rglob("*")):
        os.chown(path, SOMEBODY, SOMEBODY)
    ended = worker("accounts", "list")
    assert (ended.returncode, f"belongs to user {SOMEBODY}" in ended.stderr) == (78, True)
    assert {path.stat().st_uid for path in (tmp_path / "state").rglob("*")} == {SOMEBODY}
