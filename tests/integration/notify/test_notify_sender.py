"""From the outbox to a route: once, in batches, again after failures, and not two processes at a time."""

from __future__ import annotations

import logging

from worker.notify.sender import Sender
from worker.store.notifications import GIVEN_UP_AFTER
from worker.store.records import Finding


def test_flag_arrives_once(desk, webhook, receiver, flag):
    """And not again at the next look."""
    flag()
    sender = Sender(desk, webhook(receiver))
    sender.deliver()
    sender.deliver()
    (document,) = receiver.documents
    assert document["data"]["title"] == "arlo/acme: needs consent"


def test_hundred_flags_arrive_as_one_list(desk, webhook, receiver, flag):
    """What waits together is told together."""
    for number in range(100):
        flag(f"a{number}")
    Sender(desk, webhook(receiver)).deliver()
    (document,) = receiver.documents
    assert len(document["data"]["items"]) == 100


def test_next_of_a_kind_waits_a_minute_for_company(desk, webhook, receiver, flag, clock):
    """A storm that goes on is a message a minute."""
    sender = Sender(desk, webhook(receiver))
    flag("a0")
    sender.deliver()
    for number in range(1, 50):
        flag(f"a{number}")
        assert sender.deliver() > 0
    clock.advance(61)
    sender.deliver()
    assert [len(document["data"]["items"]) for document in receiver.documents] == [1, 49]


def test_failed_delivery_is_tried_again_with_the_same_id(desk, webhook, receiver, flag, clock):
    """After a pause that grows; a receiver can tell that it is the same."""
    flag()
    sender = Sender(desk, webhook(receiver))
    receiver.status = 500
    waits = [sender.deliver()]
    assert sender.deliver() == waits[0]
    assert len(receiver.taken) == 1
    clock.advance(waits[0])
    waits.append(sender.deliver())
    assert waits[1] == 2 * waits[0]
    receiver.status = 204
    clock.advance(waits[1])
    assert sender.deliver() is None
    assert len({headers["webhook-id"] for headers, _ in receiver.taken}) == 1
    assert len(receiver.taken) == 3


def test_route_that_fails_for_a_day_is_given_up_on_loudly(desk, webhook, receiver, flag, clock, caplog):
    """An error in the log names what was not told."""
    flag()
    sender = Sender(desk, webhook(receiver))
    receiver.status = 500
    sender.deliver()
    clock.advance(GIVEN_UP_AFTER)
    sender.deliver()
    clock.advance(3600)
    sender.deliver()
    assert len(receiver.taken) == 2
    (given_up,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (given_up.message, given_up.account) == ("a notification was given up", "acme")


def test_crash_between_sending_and_marking_sends_again(desk, webhook, receiver, flag, sqlite_store, tmp_path):
    """At least once: the mark follows the sending."""
    flag()
    sqlite_store.database.on_fault = lambda _error: None
    waiting = sqlite_store.notifications.waiting(webhook(receiver).takes, desk.clock.now())
    webhook(receiver).way.send(desk.composer.compose(waiting, desk.clock.now()), 20)
    # … and here the process ended; the next one finds it in the outbox.
    Sender(desk, webhook(receiver)).deliver()
    (first, _), (second, _) = receiver.taken
    assert first["webhook-id"] == second["webhook-id"]


def test_two_processes_do_not_deliver_the_same_at_once(desk, webhook, receiver, flag, sqlite_store):
    """Whoever comes second leaves it to the first."""
    flag()
    with sqlite_store.locks.hold("notify-ops"):
        assert Sender(desk, webhook(receiver)).deliver() is None
    assert receiver.taken == []


def test_reminder_is_a_message_of_its_own(desk, webhook, receiver, flag, clock):
    """Marked as one, a day later."""
    flag()
    sender = Sender(desk, webhook(receiver, remind=86400.0))
    sender.deliver()
    clock.advance(86401)
    sender.deliver()
    assert [document["data"]["reminder"] for document in receiver.documents] == [False, True]


def test_route_with_a_fault_of_its_own_fails_like_any(desk, webhook, receiver, flag):
    """A plugin that raises something else does not end the deliverer."""

    class Broken:
        def send(self, _message, _timeout):
            raise KeyError("a plugin's fault")

    flag()
    route = webhook(receiver)
    sender = Sender(desk, type(route)(route.takes, Broken()))
    assert sender.deliver() > 0
    assert desk.store.notifications.next_attempt("ops") is not None


def test_secret_in_evidence_does_not_leave(desk, webhook, receiver, flag, scrubber):
    """Whatever got into the store by mistake: nothing secret goes over the wire."""
    scrubber.learn("topsecret-refresh-token")
    flag(finding=Finding("revoked", "it said topsecret-refresh-token", {"body": "x topsecret-refresh-token y"}))
    Sender(desk, webhook(receiver)).deliver()
    ((_, body),) = receiver.taken
    assert b"topsecret" not in body


def test_hundred_failing_refreshes_arrive_as_one_list(desk, webhook, receiver, enrolled, clock):
    """Their provider is down: each is found and noted by itself, and told together."""
    store = desk.store
    for number in range(100):
        grant = enrolled(f"a{number}")
        store.grants.fail_refresh(grant, Finding("try again later", "503"), clock.now(), not_before=clock.now())
    clock.advance(7 * 3600)
    assert len(store.failing.tell("arlo", 6 * 3600, clock.now())) == 100
    Sender(desk, webhook(receiver)).deliver()
    (document,) = receiver.documents
    assert document["data"]["title"] == "100 accounts: cannot refresh"
