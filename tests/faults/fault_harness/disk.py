"""A disk that is full at the worst moment: when the provider has rotated and the new tokens are to be stored."""

from __future__ import annotations

import resource

#: The transaction that brings a refresh to its end.
_COMMIT = "store.grants:Grants.complete_refresh"
#: Tries for which there is no room.
_TRIES = 2


class FullDisk:
    """Hears of each function that is entered; no file may grow from the first try to store the tokens on."""

    def __init__(self) -> None:
        self._tries = 0

    def __call__(self, function: str) -> None:
        """A function was entered."""
        if function != _COMMIT:
            return
        self._tries += 1
        if self._tries == 1:
            self._limit(0)
        elif self._tries == _TRIES + 1:
            self._limit(resource.RLIM_INFINITY)

    @staticmethod
    def _limit(size: int) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # Writing beyond it fails with EFBIG, since Python ignores SIGXFSZ.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
