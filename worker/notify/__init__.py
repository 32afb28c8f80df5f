"""Telling people what happened: the log, and the routes of `[[notify]]`, one file per way.

Nothing is sent from where it happens. The store keeps an outbox, written in the transaction of what is to be told
(`worker.store.notifications`); a deliverer takes from it, and marks what each route has taken. May import the store
and everything below it. Start reading at `deliverer.py`; `route.py` and `message.py` say what a way gets.
"""
