"""One of the processes of a stampede: `python stampede_client.py CLIENT CONFIG`, orders on standard input.

{"grant": FILE, "account": N, "url": URL}   read the grant, make the session(s), make one good request: "armed"
"go"                                        every thread makes one request: a report of how they went
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from pathlib import Path

THREADS = 16


def ours(config: str, *, shared: bool):
    import house

    wiring = house.wire(Path(config))

    def make(order):
        if shared:
            return [house.session(wiring, order["account"]).get] * THREADS
        return [house.session(wiring, order["account"]).get for _ in range(THREADS)]

    return make


def peer(name: str, *, retry: bool):
    import peers

    def make(order):
        grant = peers.Grant(**json.loads(Path(order["grant"]).read_text()))
        session = {"requests-oauthlib": peers.requests_oauthlib, "Authlib": peers.authlib}.get(name, peers.google_auth)(
            grant
        )
        if not retry:
            return [session.get] * THREADS

        def get(url):
            """What their users write by hand, since neither library looks at a 401."""
            response = session.get(url)
            if response.status_code == 401:
                if name == "Authlib":
                    session.refresh_token(grant.token_url)
                else:
                    session.refresh_token(grant.token_url, auth=(grant.client_id, grant.client_secret))
                response = session.get(url)
            return response

        return [get] * THREADS

    return make


def maker(client: str, config: str):
    if client.startswith("ours"):
        return ours(config, shared=client == "ours, shared")
    name, _, retry = client.partition(" + ")
    return peer(name, retry=bool(retry))


def stampede(gets, url) -> dict[str, int]:
    """Every thread one request, all at once: how many ended how."""
    start = threading.Barrier(len(gets))
    outcomes: Counter[str] = Counter()

    def ask(get):
        start.wait()
        try:
            outcome = str(get(url).status_code)
        except Exception as error:  # noqa: BLE001 - each library has its own
            outcome = type(error).__name__
        outcomes[outcome] += 1  # one thread at a time holds the interpreter for this

    crew = [threading.Thread(target=ask, args=(get,)) for get in gets]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    return dict(outcomes)


def main():
    make = maker(sys.argv[1], sys.argv[2])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        gets = make(order)
        for get in dict.fromkeys(gets):
            assert get(order["url"]).status_code == 200
        print(json.dumps("armed"), flush=True)
        assert json.loads(sys.stdin.readline()) == "go"
        print(json.dumps(stampede(gets, order["url"])), flush=True)


if __name__ == "__main__":
    main()
