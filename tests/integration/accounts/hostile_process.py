"""A process that is sent bodies without end, and says what each cost: `python hostile_process.py ORIGIN FOLDER`.

Every way of asking is tried with every body that the server at ORIGIN offers; the answer is JSON on standard output.
Memory is the high-water mark of this process alone, set back before each try, in MiB.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from account_house import House

from worker.crypto.keyring import Keyring, new_key
from worker.crypto.sealing import Sealer
from worker.oauth.tokens import Tokens
from worker.redact import Scrubber
from worker.store.store import open_store
from worker.testing import ManualClock

BODIES = ("endless", "gzip", "gzip-twice", "deflate", "chunked")
WAYS = ("refresh", "discovery", "identity", "revocation", "api", "api-rejection", "pages")


def attempt(house: House, origin: str, way: str) -> None:
    """Ask once. Raises what the product raises."""
    account = house.account()
    if way == "refresh":
        house.refresh(account)
    elif way == "discovery":
        house.configure(issuer=origin, token_url=None)
        house.client.token_url()
    elif way == "identity":
        from worker.accounts.who import identify

        house.configure(identity_url=f"{origin}/identity", scopes=("read",))
        identify(house.client, Tokens("access-token-1"), None, house.clock.now())
    elif way == "revocation":
        house.configure(revoke_url=f"{origin}/revoke")
        house.enrolment.revoke(house.client, account)
    elif way == "api":
        house.session(account).get("things").raise_for_status()
    elif way == "api-rejection":
        house.session(account).get("rejected", stream=True)
    else:
        from worker.jobs.pages import Collection, paginate

        session = house.session(account)
        collection = Collection(f"{origin}/api/things", {})
        list(paginate(lambda url, params: session.get(url, params=params), collection))


def main() -> None:
    """Try everything."""
    origin, folder = sys.argv[1], Path(sys.argv[2])
    clock = ManualClock()
    sealer = Sealer(Keyring((new_key("k1"),)), Scrubber())
    store = open_store(f"sqlite:///{folder / 'state' / 'worker.db'}", folder / "state", sealer, clock.now())
    results = {}
    for body in BODIES:
        for way in WAYS:
            place = f"{origin}/{body}"
            options = {"token_url": f'"{place}/token"', "api_base": f'"{place}/api/"', "allow_http": "true"}
            house = House(folder, store, clock, None, authorize_url='"https://provider.example/a"', **options)
            house.admit()
            before = _high_water(fresh=True)
            said = "nothing was refused"
            try:
                attempt(house, place, way)
            except Exception as error:  # noqa: BLE001 - the test looks
                said = f"{type(error).__name__}: {error}"
            state = str(house.account().state)
            results[f"{body} {way}"] = {"grown": _high_water() - before, "said": said, "state": state}
    store.close()
    sys.stdout.write(json.dumps(results))


def _high_water(*, fresh: bool = False) -> int:
    if fresh:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) // 1024


if __name__ == "__main__":
    main()
