"""Stops a real process at every line, and at every system call that matters, of what must never lose anything.

A *trial* is one stop: a process works on a folder of its own against a provider that rotates and ends the family on
reuse, is stopped, and a fresh process opens the store and goes on as the daemon does at its start. An oracle that
shares no code with the product's verdicts compares what the product then says with what the provider has counted.

Start with `workshop` (one stop, from beginning to verdict) and `operations` (what is stopped). `steps` names the
places, `tracing` and `syscalls` find and stop at them, `oracle` judges, `sweep` decides which trials are made, `table`
prints. Uses the product's public parts and nothing of the other tests.
"""
