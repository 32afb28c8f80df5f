"""One client that is made to crash: `python survival_client.py CLIENT CONFIG`, orders on standard input.

{"grant": FILE, "account": N, "url": URL, "die": WHERE, "tries": N}
    in a process of its own, forked for this order: take the grant as it was stored last, make the request (a rejected
    token is refreshed and the request made again), store what the refresh brought. WHERE is where the process kills
    itself: "" nowhere, "before" when the answer is there and nothing is stored yet, "within" while it is being stored.
    Answers how it ended: "served", "killed", or the name of the error of the last try.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

#: Seconds between two tries: longer than our own first pause after a lost answer.
PAUSE = 2.6


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def ours(config: str):
    import house
    from sqlalchemy import event

    def get(order):
        wiring = house.wire(Path(config))
        if order["die"]:
            _die_storing(wiring, event, within=order["die"] == "within")
        return house.session(wiring, order["account"]).get(order["url"])

    return get


def _die_storing(wiring, event, *, within: bool) -> None:
    grants = wiring.store.grants
    complete = grants.complete_refresh

    def crashing(*arguments):
        if not within:
            die()
        # All rows are written by now; the commit is what is left.
        event.listen(wiring.store.database.engine, "commit", lambda _connection: die())
        return complete(*arguments)

    grants.complete_refresh = crashing


def peer(name: str):
    import peers

    make = {"requests-oauthlib": peers.requests_oauthlib, "Authlib": peers.authlib, "google-auth": peers.google_auth}

    def get(order):
        file = Path(order["grant"])
        grant = peers.Grant(**json.loads(file.read_text()))
        session = make[name](grant)
        known = grant.refresh_token

        def save(access_token, refresh_token):
            if order["die"] == "before":
                die()
            with file.open("w") as opened:  # as their documentation shows it
                if order["die"] == "within":
                    die()
                fresh = {**grant.__dict__, "access_token": access_token, "refresh_token": refresh_token or known}
                json.dump(fresh, opened)

        if name == "google-auth":
            before = session.credentials.token
            refresh = session.credentials.refresh

            def refreshed(request):
                refresh(request)
                if session.credentials.token != before:
                    save(session.credentials.token, session.credentials.refresh_token)

            session.credentials.refresh = refreshed
            return session.get(order["url"])
        response = session.get(order["url"])
        if response.status_code == 401:
            client = {} if name == "Authlib" else {"auth": (grant.client_id, grant.client_secret)}
            token = session.refresh_token(grant.token_url, **client)
            save(token["access_token"], token.get("refresh_token"))
            response = session.get(order["url"])
        return response

    return get


def attempt(get, order) -> str:
    outcome = ""
    for number in range(order["tries"]):
        if number:
            time.sleep(PAUSE)
        try:
            outcome = str(get(order).status_code)
        except Exception as error:  # noqa: BLE001 - each library has its own
            outcome = type(error).__name__
        if outcome == "200":
            return "served"
    return outcome


def in_child(get, order) -> str:
    heard, told = os.pipe()
    child = os.fork()
    if not child:
        os.close(heard)
        os.write(told, attempt(get, order).encode())
        os._exit(0)
    os.close(told)
    with os.fdopen(heard) as pipe:
        words = pipe.read()
    os.waitpid(child, 0)
    return words or "killed"


def main():
    logging.disable(logging.CRITICAL)
    get = ours(sys.argv[2]) if sys.argv[1] == "ours" else peer(sys.argv[1])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(in_child(get, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
