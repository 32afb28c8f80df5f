"""One account's dealings with its provider: the token request, the refresh, the session, the enrolment.

May import `store`, `config`, `crypto`, `oauth`, `jobs.addresses`, `log`, `events`, `redact`, `states`, `errors` and
`clock`.
Start reading at `refresh.py`: one refresh per token lifetime, whoever wants it, is what everything here serves.
"""
