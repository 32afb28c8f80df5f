"""Ways of telling people what happened: one file per way. So far the log.

May import the store and everything below it. Start reading at `journal.py`.
"""
