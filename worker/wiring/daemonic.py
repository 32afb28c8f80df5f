"""What the daemon drives, and what it can ask of the parts: a fresh look, a fresh configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.crypto.keys_in_use import write_keys_in_use
from worker.runner.watching import NoteKeeper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.crypto.keyring import Keyring
    from worker.engines.embedded import EmbeddedEngine
    from worker.runner.assignment import Assignment
    from worker.runner.pace import Stopping
    from worker.store.store import Store
    from worker.wiring.wiring import Wiring


@dataclass(frozen=True)
class Daemonic:
    """The daemon's parts."""

    wiring: Wiring
    store: Store
    engine: EmbeddedEngine
    stopping: Stopping
    state_folder: Path

    @property
    def drain_timeout(self) -> float:
        """Seconds that runs are given at the end."""
        return self.wiring.config.worker.drain_timeout

    @property
    def assignments(self) -> Mapping[str, Assignment]:
        """The jobs being worked for."""
        return self.engine.assignments

    def sweep_notes(self) -> None:
        """Take away what is told of runs whose process is gone. Only the daemon that has the lock may."""
        NoteKeeper(self.state_folder, self.wiring.clock).sweep()

    def tell_keys(self) -> None:
        """Say which keys are in hand, now and whenever they change: a rotation asks.

        Only the daemon that has the lock says so; one that was started by mistake must not speak for it.
        """
        self.wiring.sealer.on_change = self._write_keys
        self._write_keys(self.wiring.sealer.keyring)

    def _write_keys(self, ring: Keyring) -> None:
        follows = self.wiring.sealer.origin is not None
        write_keys_in_use(self.state_folder, [key.id for key in ring.keys], follows=follows)

    def ring(self) -> None:
        """Somebody has changed something: look at the keyring and the store now."""
        self.wiring.sealer.look()
        self.engine.ring()
        self.wiring.deliverer.wake()

    def reload(self) -> None:
        """Read the configuration anew. Raises WorkerError, and changes nothing, when it has faults."""
        self.wiring.sealer.reread()
        self.wiring.reload(self.engine)
