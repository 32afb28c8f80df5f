"""Whoever is asked is told who asks."""

from __future__ import annotations

import json

from scripted_server import Answer

from worker.accounts.who import identify
from worker.oauth.tokens import Tokens


def test_every_request_says_who_asks(build, serve):
    """Metadata, token, identity, API and revocation: five endpoints, one name."""
    everything = serve()
    document = {
        "issuer": everything.origin,
        "token_endpoint": f"{everything.origin}/token",
        "access_token": "access-token-2",
        "sub": "alice",
    }
    everything.answers = [Answer(body=json.dumps(document).encode())]
    house = build(everything, everything)
    here = {"revoke_url": f"{everything.origin}/revoke", "identity_url": f"{everything.origin}/me"}
    house.configure(issuer=everything.origin, **here)
    account = house.admit()
    house.client.metadata()
    house.refresh(account)
    identify(house.client, Tokens("access-token-2"), None, house.clock.now())
    house.session(account).get("things")
    house.enrolment.revoke(house.client, account)
    paths = [one.path for one in everything.asked]
    assert [path.partition("?")[0] for path in paths[-4:]] == ["/token", "/me", "/api/things", "/revoke"]
    assert {one.headers["user-agent"] for one in everything.asked} == {"test"}
