"""The daemon's deliverer: a thread a route, woken by what happens; and what a command does before it ends."""

from __future__ import annotations

import threading

import pytest

from worker.errors import WorkerError
from worker.events import AccountMoved, RunFinished
from worker.notify.deliverer import Deliverer
from worker.notify.store_watch import PATIENCE
from worker.states import AccountState, RunState

MOVED = AccountMoved("arlo", "acme", AccountState.ACTIVE, AccountState.NEEDS_CONSENT, "revoked")
FINISHED = RunFinished("1", "job", "arlo", "acme", RunState.SUCCEEDED, 1, 1.0)


def test_slow_route_holds_up_no_other(desk, webhook, receivers, flag, until):
    """Each has a thread of its own."""
    slow, quick = receivers(), receivers()
    slow.open.clear()
    deliverer = Deliverer(desk, [webhook(slow, "slow"), webhook(quick, "quick")])
    deliverer.start()
    flag()
    deliverer.hear(MOVED)
    until(lambda: slow.taken and quick.taken, "both requests")
    until(lambda: desk.store.notifications.waiting(webhook(quick, "quick").takes, desk.clock.now()) == [], "the mark")
    assert desk.store.notifications.waiting(webhook(slow, "slow").takes, desk.clock.now()) != []
    slow.open.set()
    deliverer.stop(5)


def test_command_delivers_what_it_caused_before_it_ends(desk, webhook, receiver, flag):
    """No thread was started, none is needed."""
    deliverer = Deliverer(desk, [webhook(receiver)])
    flag()
    deliverer.deliver_now(20)
    assert len(receiver.taken) == 1


def test_only_what_people_may_have_to_know_is_heard(desk, webhook, receiver):
    """A run that ended is nobody's business."""
    deliverer = Deliverer(desk, [webhook(receiver)])
    deliverer.hear(FINISHED)
    assert not deliverer.heard
    deliverer.hear(MOVED)
    assert deliverer.heard


def test_routes_can_change_while_it_runs(desk, webhook, receivers, flag, until):
    """A configuration that was read anew is followed at once."""
    old, new = receivers(), receivers()
    deliverer = Deliverer(desk, [webhook(old, "old")])
    deliverer.start()
    deliverer.use([webhook(new, "new")])
    flag()
    deliverer.wake()
    until(lambda: new.taken, "the request")
    assert old.taken == []
    deliverer.stop(5)


def test_end_waits_for_what_is_being_sent(desk, webhook, receiver, flag, until):
    """What was taken is marked, so it is not told again after the next start."""
    receiver.open.clear()
    route = webhook(receiver)
    deliverer = Deliverer(desk, [route])
    deliverer.start()
    flag()
    deliverer.hear(MOVED)
    until(lambda: receiver.taken, "the request")
    ending = threading.Thread(target=deliverer.stop, args=(30,))
    ending.start()
    receiver.open.set()
    ending.join()
    assert desk.store.notifications.waiting(route.takes, desk.clock.now()) == []
    assert len(receiver.taken) == 1


def test_slow_route_takes_no_last_news_from_another(desk, webhook, receivers, flag, until):
    """Each has the whole time for its own."""
    slow, quick = receivers(), receivers()
    slow.open.clear()
    deliverer = Deliverer(desk, [webhook(slow, "slow"), webhook(quick, "quick")])
    deliverer.start()
    flag()
    deliverer.hear(MOVED)
    until(lambda: slow.taken and quick.taken, "both requests")
    flag("beta")
    deliverer.stop(3)
    assert [item["account"] for document in quick.documents for item in document["data"]["items"]] == ["acme", "beta"]


def test_last_news_do_not_wait_for_company(desk, webhook, receiver, flag, until):
    """Nobody would be there to send them a minute later."""
    deliverer = Deliverer(desk, [webhook(receiver)])
    deliverer.start()
    for account in ("acme", "beta"):
        flag(account)
        deliverer.hear(MOVED)
        until(lambda: receiver.taken, "the first")
    deliverer.stop(30)
    told = [item["account"] for document in receiver.documents for item in document["data"]["items"]]
    assert told == ["acme", "beta"]


def test_route_that_does_not_take_an_alarm_is_not_pestered(desk, webhook, receiver, clock, until):
    """However long the store cannot be written, it is tried at growing intervals."""
    receiver.status = 500
    deliverer = Deliverer(desk, [webhook(receiver)])
    deliverer.start()
    path = desk.store.database.path
    path.rename(path.with_suffix(".away"))
    with pytest.raises(WorkerError):
        desk.store.database.prove_writable()
    until(lambda: receiver.taken, "the alarm")
    looks: list[WorkerError] = []
    desk.store.database.on_fault = looks.append
    until(lambda: looks, "the next look")
    assert len(receiver.taken) == 1
    clock.advance(PATIENCE)
    until(lambda: len(receiver.taken) == 2, "the next try")
    path.with_suffix(".away").rename(path)
    deliverer.stop(5)


def test_store_that_cannot_be_written_is_told_past_the_outbox(desk, webhook, receiver, until):
    """And again when it can."""
    deliverer = Deliverer(desk, [webhook(receiver)])
    deliverer.start()
    path = desk.store.database.path
    path.rename(path.with_suffix(".away"))
    with pytest.raises(WorkerError):
        desk.store.database.prove_writable()
    until(lambda: receiver.taken, "the alarm")
    path.with_suffix(".away").rename(path)
    until(lambda: len(receiver.taken) > 1, "the all-clear")
    assert [document["type"] for document in receiver.documents] == ["incident", "recovered"]
    deliverer.stop(5)
