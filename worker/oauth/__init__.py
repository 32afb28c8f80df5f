"""The OAuth protocol towards the provider: bytes in, values out.

Pure: no I/O, no clock (`now` is an argument), no logging; imports the standard library, `worker.redact` and
`worker.errors`. Start at `verdict` (what a token endpoint's answer means) and `rejection` (what an API's answer says
about the token); `challenge` reads WWW-Authenticate for the latter. Enrolment reads `authorization`, `pkce`,
`identity`, `metadata` and `scopes`; `token_request` builds everything that is POSTed.
"""
