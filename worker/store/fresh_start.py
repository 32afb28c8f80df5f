"""No new database where one is missing: what the witness knows of living accounts was in a database.

An empty store in its place would look as on the first day: nothing enrolled, nothing to be done, nobody told. So
whoever would make one is refused, until a backup is in its place (a restore does not come by here) or the witness was
moved away. A witness that knows only what people took away themselves, or what they were told of as lost, refuses
nothing.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from worker.errors import StoreUnusable
from worker.store.files import look_at, refuse_fresh_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.store.witness_file import WitnessFile


def refuse_missing_file(path: Path, witness: WitnessFile) -> None:
    """Raise StoreUnusable where no file, or an empty one, stands at the path of a database that had accounts.

    Raises as `look_at` does when nobody can see what stands there.
    """
    if look_at(path) is None:
        refuse_fresh_start(path)
        refuse_blank(witness, f"there is no database at {path}", lambda: _is_blank(path))
    elif _is_blank(path):
        refuse_blank(witness, f"the database {path} is an empty file", lambda: _is_blank(path))


def _is_blank(path: Path) -> bool:
    found = look_at(path)
    return found is None or (stat.S_ISREG(found.st_mode) and not found.st_size)


def refuse_blank(witness: WitnessFile, instead: str, still: Callable[[], bool]) -> None:
    """Raise StoreUnusable if the witness knows accounts that live; `instead` says what was found in their place.

    `still` looks for them once more: another process may have made the database, and enrolled the first of them, after
    the look that found nothing and before the witness was asked. Raises as reading the witness does.
    """
    count = sum(said.enrolled for said in witness.read().accounts.values())
    if not count or not still():
        return
    accounts = "1 account" if count == 1 else f"{count} accounts"
    raise StoreUnusable(
        f"the witness {witness.path} knows {accounts}, but {instead}",
        hint="restore a backup: worker store restore FILE (or put the database back, or mend store.url; a second store"
        f" needs a state_dir of its own); to begin anew, move the witness away: mv {witness.path} {witness.path}.old",
    )
