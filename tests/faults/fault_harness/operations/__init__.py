"""What is stopped, one file each. `ALL` has them by name, in the order of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fault_harness.operations.backup import Backup, Restore
from fault_harness.operations.checkpoint import checkpoints
from fault_harness.operations.enrolment import Import, NewAccount, Reconsent
from fault_harness.operations.key_rotation import KeyRotation
from fault_harness.operations.migration import Migration
from fault_harness.operations.refresh import Refresh

if TYPE_CHECKING:
    from fault_harness.trial import Operation

_OPERATIONS: tuple[Operation, ...] = (
    Refresh(),
    NewAccount(),
    Reconsent(),
    Import(),
    *checkpoints(),
    KeyRotation(),
    Migration(),
    Backup(),
    Restore(),
)
ALL: dict[str, Operation] = {operation.name: operation for operation in _OPERATIONS}
