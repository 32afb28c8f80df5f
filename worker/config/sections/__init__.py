"""One file per section of the config: its options, the rules between them, and how its dataclass is built.

May import what `worker.config` may. `../schema.py` lists the sections in the order of the file.
"""
