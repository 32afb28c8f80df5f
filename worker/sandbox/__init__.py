"""A local authorization server and API with Arlo's behaviour, for the demo, the drills and the tests.

It is the other side: it imports the standard library alone and nothing of ours, so that a misreading of the protocol
cannot be made on both sides at once. It listens on 127.0.0.1 only, keeps everything in memory and can be told to
misbehave. Nothing in it is meant to protect real data.

Where to start: `sandbox.py` (the object and its routes), `settings.py` (everything that can be turned), `tokens.py`
(codes, rotation, reuse detection), `resources.py` (the XML API), `faults.py` (what can be broken), `control.py` (the
handles that tests and drills pull). Run it alone with `python -m worker.sandbox`.
"""

from __future__ import annotations

from worker.sandbox.consent import ConsentFailed, give_consent
from worker.sandbox.control_client import SandboxControl
from worker.sandbox.sandbox import Sandbox
from worker.sandbox.settings import BadControl, SandboxConfig, Settings

__all__ = ["BadControl", "ConsentFailed", "Sandbox", "SandboxConfig", "SandboxControl", "Settings", "give_consent"]
