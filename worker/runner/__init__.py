"""One run of one job for one account, recorded: the same code path for every engine.

May import `accounts` and everything below it. Start reading at `runner.py`; `outcome.py` says what an error means for
what happens next, `attempt.py` calls the job, `pace.py` is what stands between a job's requests and the network.
"""
