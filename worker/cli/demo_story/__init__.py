"""The story that `worker demo` plays: three accounts, a provider that misbehaves, and nothing lost.

Everything in it is real: the provider is a process of its own, the daemon is `worker run`, an operator's steps are
`worker` commands in their own processes, and every claim is checked against the provider's counters, the store (through
`--json`) and the rows in the sink before it is printed. It may import what the command line may: everything.

Where to start: `story.py` (the order of the steps, and what becomes of a step that fails), `opening.py`, `tokens.py`,
`outage.py` and `closing.py` (the steps), `stage.py` (what they work with), `narrator.py` and `live.py` (what is seen).
`scene.py`, `processes.py`, `commands.py` and `folder.py` serve the drills as well.
"""
