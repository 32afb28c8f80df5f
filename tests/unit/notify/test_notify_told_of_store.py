"""Who was told that the store does not work: what is remembered, and what a spoilt file is taken for."""

from __future__ import annotations

import pytest

from worker.notify.told_of_store import Memory, Told


def test_what_was_written_is_read(tmp_path) -> None:
    """By the next process."""
    Memory(tmp_path).write(5.0, ["pager", "hook"])
    assert Memory(tmp_path).read() == Told(5.0, ("hook", "pager"))
    Memory(tmp_path).forget()
    assert Memory(tmp_path).read() is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"0",
        b"null",
        b'{"since": NaN, "routes": ["a"]}',
        b'{"since": 1e999, "routes": ["a"]}',
        b"\xff",
    ],
)
def test_spoilt_file_is_no_memory(tmp_path, content) -> None:
    """It costs a second telling, and not the thread that watches."""
    (tmp_path / "store-fault").write_bytes(content)
    assert Memory(tmp_path).read() is None
