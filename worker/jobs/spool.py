"""A list that may be longer than memory: packed a thousand at a time, and from some megabytes on in a temporary file
without a name, which ends with the process.
"""

from __future__ import annotations

import marshal
import pickle
import tempfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar

from worker.jobs.sinks.durable import named_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Items kept as objects, and bytes of text in them, before they are packed.
PACK_ROWS, PACK_BYTES = 1000, 2**20
#: Packed bytes kept in memory before they go to the disk.
SPOOL_BYTES = 8 * 2**20
#: Bytes of the length before each pack.
_LENGTH = 8
#: How a pack was made: its first byte.
_MARSHAL, _PICKLE = b"m", b"p"

Item = TypeVar("Item")


class Spool(Generic[Item]):
    """Items in order; may be read again and again."""

    def __init__(self, folder: Path | None, *, squeezed: bool = False) -> None:
        self.count = 0
        self._folder = folder
        #: Costs little, and makes keys, which are alike, a few bytes each.
        self._squeezed = squeezed
        self._loose: list[Item] = []
        self._loose_bytes = 0
        self._packed: IO[bytes] | None = None

    def add(self, item: Item, weight: int = 0) -> None:
        """Put one behind the others; `weight` is about how many bytes it holds."""
        self._loose.append(item)
        self.count += 1
        self._loose_bytes += weight
        if len(self._loose) >= PACK_ROWS or self._loose_bytes >= PACK_BYTES:
            self._pack()

    def __iter__(self) -> Iterator[Item]:
        if self._packed is not None:
            self._packed.seek(0)
            while length := self._packed.read(_LENGTH):
                packed = self._packed.read(int.from_bytes(length))
                yield from _unpacked(zlib.decompress(packed) if self._squeezed else packed)
        yield from self._loose

    def close(self) -> None:
        """Forget them."""
        if self._packed is not None:
            self._packed.close()

    def _pack(self) -> None:
        folder = str(self._folder or tempfile.gettempdir())
        with named_faults(Path(folder)):
            if self._packed is None:
                self._packed = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=folder)  # noqa: SIM115
            self._packed.seek(0, 2)
            packed = _packed(self._loose)
            if self._squeezed:
                packed = zlib.compress(packed, 1)
            self._packed.write(len(packed).to_bytes(_LENGTH))
            self._packed.write(packed)
        self._loose, self._loose_bytes = [], 0


def _packed(items: list[Any]) -> bytes:
    """As bytes: by marshal, six times as quick, and by pickle where it does not know a type (Decimal)."""
    try:
        return _MARSHAL + marshal.dumps(items)
    except ValueError:
        return _PICKLE + pickle.dumps(items, pickle.HIGHEST_PROTOCOL)


def _unpacked(packed: bytes) -> list[Any]:
    load = marshal.loads if packed.startswith(_MARSHAL) else pickle.loads
    items: list[Any] = load(memoryview(packed)[1:])
    return items
