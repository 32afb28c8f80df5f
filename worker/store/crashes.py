"""Runs that take their process with them: a segmentation fault, the kernel's out-of-memory killer, `os._exit`.

All that is known afterwards is which runs were under way. So each of them is counted, and the count says what happens
next. Once may be chance, or an operator's kill -9: the run starts again first, at once. From the second time in a row
the run is a suspect: it waits, and starts only while no other suspect runs, so that the next crash tells which one it
was. From the third on the run has failed, and the schedule goes on with longer and longer pauses. Any end that is
recorded clears the count; a shutdown neither counts nor clears it.
"""

from __future__ import annotations

#: Crashes in a row that make a row a suspect, and that make its run a failed one.
SUSPECT, TOO_MANY = 2, 3
#: Seconds before the next run after so many crashes in a row; the last one stands for all that follow.
_PAUSES = (0.0, 60.0, 300.0, 1800.0)


def pause_after(crashes: int) -> float:
    """Seconds before the next run after so many crashes in a row (1 or more)."""
    return _PAUSES[min(crashes, len(_PAUSES)) - 1]


def cause(crashes: int, reason: str) -> str:
    """What the history says of a run that crashed; `reason` is what was found."""
    return reason if crashes < TOO_MANY else f"took its process with it {crashes} times in a row; {reason}"
