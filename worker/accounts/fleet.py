"""When many accounts lose their grant at once: the policy, pure.

A provider that has mislaid its tokens for ten minutes answers `invalid_grant` to everybody, word for word as if every
single owner had withdrawn his consent. To flag them all would send every owner to the browser for nothing; to flag none
would hide a real mass revocation. So from some number on, refusals are held: the accounts wait, one incident tells why,
and one of them, the canary, is tried again. If it works, all go on. If not, the next canary is another account, since
the owner of the first may really have withdrawn his consent. When the last one is refused, each is flagged with what
was found about itself.

One account, or a few, are never held: an owner who withdraws his consent is told of at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.config.model import Integration

#: When a canary is probed, as parts of the time that refusals are held: with half an hour 2, 5, 10, 20, 30 minutes.
PROBES = (1 / 15, 1 / 6, 1 / 3, 2 / 3, 1.0)


@dataclass(frozen=True)
class MassRefusal:
    """How many refusals are too many, and how long they are held."""

    #: At least so many accounts; 0 holds nothing.
    accounts: int
    #: … and at least this part of all that work, in percent.
    percent: int
    #: Seconds in which they are refused.
    within: float
    #: Seconds from the first hold to the last probe.
    hold: float

    @classmethod
    def of(cls, integration: Integration) -> MassRefusal:
        """As the integration's settings say."""
        return cls(
            integration.mass_refusal_accounts,
            integration.mass_refusal_percent,
            integration.mass_refusal_within,
            integration.mass_refusal_hold,
        )

    def reached(self, refused: int, alive: int) -> bool:
        """Whether `refused` accounts of `alive` are too many to be taken one by one. The refused count as alive."""
        return 0 < self.accounts <= refused and refused * 100 >= alive * self.percent

    def next_probe(self, opened: float, now: float) -> float | None:
        """When a canary is probed next; None when the last probe is over.

        A pause in which nobody looked (a restart) does not multiply probes: what lies before `now` is left out. A clock
        that was set back does not put them off.
        """
        times = (min(opened, now) + self.hold * part for part in PROBES)
        return next((time for time in times if time > now), None)


#: For accounts whose integration has left the configuration: nothing is held.
NEVER = MassRefusal(accounts=0, percent=100, within=0.0, hold=0.0)
