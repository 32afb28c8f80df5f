"""Keeping secrets at rest: the keyring and the sealing of single values. No I/O except creating a keyring file.

May import `redact`, `errors`. Start reading at `sealing.py`: what a sealed value is bound to is the hard idea.
`cryptography` is imported when the first value is sealed or opened, so that commands without secrets start fast.
"""
