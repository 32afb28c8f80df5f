"""A store that is backed up, used on, and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store_helpers import NOW, tokens

from worker.store.backup import back_up
from worker.store.restore import Place, restore
from worker.store.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from worker.crypto.sealing import Sealer
    from worker.store.records import Account, Grant
    from worker.store.restore import RestoreReport
    from worker.store.store import Store

#: When the restore takes place: an hour after the backup.
LATER = NOW + 3600


class Story:
    """One store through backup and restore."""

    def __init__(self, url: str, folder: Path, sealer: Sealer) -> None:
        self.place = Place(url, folder / "state", folder / "state" / "witness", sealer)
        self.backup = folder / "backup.db"
        self.store = self.open()

    def open(self) -> Store:
        """Open the store, again if need be."""
        self.store = open_store(self.place.url, self.place.state_folder, self.place.sealer, LATER)
        return self.store

    def refresh(self, account: Account, refresh: str | None = "rotated", times: int = 1) -> Grant:
        """So many refreshes; `refresh` is the beginning of the new refresh tokens, None for none."""
        for _ in range(times):
            grant = self.store.grants.read(account.id)
            self.store.grants.begin_refresh(grant, "process 1", NOW)
            token = None if refresh is None else f"{refresh}-{grant.generation}"
            grant = self.store.grants.complete_refresh(grant, tokens(refresh=token), NOW)
        return grant

    def back_up(self) -> None:
        """Make the backup."""
        back_up(self.store.database, self.place.sealer, self.backup, NOW)

    def restore(self, file: Path | None = None) -> RestoreReport:
        """Close the store, restore the backup, and open it again."""
        self.store.close()
        report = restore(self.place, file or self.backup, LATER)
        self.open()
        return report

    def account(self, name: str = "acme") -> Account:
        """How an account stands now."""
        return self.store.accounts.get("arlo", name)
