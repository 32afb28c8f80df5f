"""What `worker drill` plays: one fault at a time, against the local provider, with the operator's own routes.

A drill has a folder, a store, a key and a daemon of its own; of the operator's it takes the notification routes and
nothing else. What the worker knows and says is read from its own log, what it did is checked at the provider and in the
sink. It may import what the command line may: everything. The scene, the processes and the folder are the demo's.

Where to start: `drill.py` (the faults, and what becomes of one that is not withstood), `grants.py`, `api.py` and
`disk.py` (how each is played), `scene.py` (what they work with), `routes.py` (who is told).
"""
