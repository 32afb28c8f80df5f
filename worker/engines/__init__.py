"""Engines: what runs the runs. So far one, in this process.

May import `runner` and everything below it. Start reading at `embedded.py`; `timetable.py` says when a job is due.
"""
