"""What a reload hands over, and what it makes anew."""

from __future__ import annotations

import threading

import pytest
import requests

from worker.errors import ConfigProblems, Misconfigured

URL = "https://api.test/"


@pytest.fixture
def engine(place):
    """An engine for the place's jobs, not started."""
    place.job("quick", every=None)
    return place.wiring.engine()


def limited(place, rate):
    """Give the integration a rate limit."""
    path = place.folder / "config.toml"
    path.write_text(path.read_text().replace("[integrations.books]", f'[integrations.books]\nrate_limit = "{rate}"'))


def test_reload_goes_on_counting_requests(place):
    """Begun anew, the limit would let twice as many through in its window."""
    place.job("quick", every=None)
    limited(place, "2/hour")
    engine = place.wiring.engine()
    limiter = engine.assignments["quick"].limiter
    limiter.reserve("acme", URL)
    place.wiring.reload(engine)
    place.wiring.reload(engine)
    again = engine.assignments["quick"].limiter
    assert [again.reserve("acme", URL) == 0 for _ in range(2)] == [True, False]


def test_reload_takes_up_another_limit(place):
    """The window begins anew with it."""
    place.job("quick", every=None)
    limited(place, "2/hour")
    engine = place.wiring.engine()
    place.write()
    limited(place, "3/hour")
    place.wiring.reload(engine)
    limiter = engine.assignments["quick"].limiter
    assert [limiter.reserve("acme", URL) == 0 for _ in range(4)] == [True, True, True, False]


def test_reload_keeps_what_the_api_has_said(place):
    """Also with another limit: it wants to be left alone all the same."""
    place.job("quick", every=None)
    engine = place.wiring.engine()
    refusal = requests.Response()
    refusal.status_code, refusal.url, refusal.headers["Retry-After"] = 429, URL, "3600"
    engine.assignments["quick"].limiter.heard("acme", refusal)
    limited(place, "3/hour")
    place.wiring.reload(engine)
    assert engine.assignments["quick"].limiter.reserve("acme", URL) > 3000


def test_reload_never_lacks_a_client_that_stays(place, engine):
    """A refresh in another thread looks it up at any moment."""
    refresher, stop, missing = place.wiring.refresher, threading.Event(), []

    def look():
        while not stop.is_set():
            if "books" not in refresher._clients:
                missing.append(1)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(20):
        place.wiring.reload(engine)
    stop.set()
    thread.join(60)
    assert missing == []


def test_reload_with_faults_changes_nothing(place, engine):
    """Neither jobs nor config."""
    before = (engine.assignments, place.wiring.config)
    place.options["timezoen"] = "UTC"
    place.write()
    with pytest.raises(ConfigProblems):
        place.wiring.reload(engine)
    assert (engine.assignments, place.wiring.config) == before


def test_reload_refuses_another_state_folder(place, engine):
    """Locks and database stay where they are for the life of a process."""
    place.options["state_dir"] = "elsewhere"
    place.write()
    with pytest.raises(Misconfigured, match="cannot change while the daemon runs"):
        place.wiring.reload(engine)
