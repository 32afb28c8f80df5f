"""The kill loop, bounded; `make faults` runs all of it. And a loop over a store that lies, which it must catch."""

from __future__ import annotations

from pathlib import Path

from kill_loop import kill_loop

#: Instead of what a victim says after its commit: it says so before.
_HASTY = """
import os, sys, time
sys.path.insert(0, {folder!r})
import kill_loop_victim as victim
from worker.store.grants import Grants

complete = Grants.complete_refresh
def hasty(self, grant, tokens, now):
    for later in range(1, 20):
        victim.say(f"grant {{grant.account.name}} {{grant.generation + later}}")
    return complete(self, grant, tokens, now)
Grants.complete_refresh = hasty
victim.main()
"""


def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Forty SIGKILLs in the middle of commits: every file is sound, every grant and row is there."""
    figures = kill_loop(tmp_path, kills=40, life=0.15, seed=40)
    assert (figures.faults, figures.kills) == ([], 40)
    assert figures.in_the_middle > 0


def test_loop_notices_what_was_acknowledged_too_early(tmp_path: Path) -> None:
    """Victims that speak before they commit: the comparison finds grants behind what was said."""
    liar = tmp_path / "hasty_victim.py"
    liar.write_text(_HASTY.format(folder=str(Path(__file__).parent)))
    (tmp_path / "store").mkdir()
    figures = kill_loop(tmp_path / "store", kills=3, life=0.5, seed=1, victim=liar)
    assert "was acknowledged" in figures.faults[0]
