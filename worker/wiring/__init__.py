"""Where everything is put together from the configuration. The only place that knows how the parts fit.

May import everything but the command line and the daemon. Start reading at `wiring.py`; `keyring.py` finds the key,
`daemonic.py` is what the daemon gets.
"""

from worker.wiring.wiring import Wiring

__all__ = ["Wiring"]
