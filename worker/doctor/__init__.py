"""`worker doctor`: everything that can be found wrong before it goes wrong at three in the morning.

Each module looks at one subject and answers diagnoses; nothing here changes anything, and no token is ever sent. May
import the runner and everything below it; the wiring hands the parts over (see `examination.Parts`). Start reading at
`examination.py`.
"""
