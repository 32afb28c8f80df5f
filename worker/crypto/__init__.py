"""Keeping secrets at rest: the keyring, the sealing of single values, and the escrow copy of the keyring.

May import `redact`, `errors`. I/O is on the keyring's file (`keyring.py` creates it, `keyring_file.py` changes it,
`origin.py` looks whether somebody else has) and on the note that a daemon leaves about its keys (`keys_in_use.py`).
Start reading at `sealing.py`: what a sealed value is bound to is the hard idea. `cryptography` is imported when the
first value is sealed or opened, so that commands without secrets start fast.
"""
