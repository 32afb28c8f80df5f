"""What a run has shown of its tables, written down with its end: deletions that are held, how the rows' shape differs
from before, how many rows its listings took away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.store.changes import hold, supersede
from worker.store.profiles import note_swept, profile_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from worker.jobs.listing import Swept
    from worker.store.records import Claim


@dataclass(frozen=True)
class Observed:
    """What one attempt has shown."""

    #: What became of its complete listings.
    swept: tuple[Swept, ...] = ()
    #: Table -> its columns, for tables whose columns are known otherwise so far.
    columns: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    #: How the rows' shape differs from before, one sentence each; and those among them that tell of another kind.
    drift: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


NOTHING = Observed()


def write_down(session: Session, claim: Claim, observed: Observed, now: float) -> None:
    """Write it in the transaction of the attempt's end."""
    for table, columns in observed.columns.items():
        profile_row(session, (claim.job, claim.account.id, table), now).columns = columns
    for swept in observed.swept:
        if swept.unusable:
            continue
        supersede(session, claim, swept.table, now)
        if swept.change:
            hold(session, claim, swept, now)
        else:
            note_swept(session, (claim.job, claim.account.id, swept.table), swept.gone.rows, now)
