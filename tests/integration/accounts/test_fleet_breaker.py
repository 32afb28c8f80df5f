"""Many accounts refused at once: held, probed, and then released or confirmed."""

from __future__ import annotations

import pytest
from account_house import at_once
from scripted_server import Answer

from worker.errors import NeedsConsent, TryAgainLater, WorkerError
from worker.events import AccountMoved, IncidentClosed, IncidentOpened
from worker.store.holds import GRANTS_REFUSED
from worker.store.records import Finding

NAMES = [f"a{number:02}" for number in range(12)]
#: When the canary is probed, in seconds between the probes.
STEPS = (120, 180, 300, 600, 600)


@pytest.fixture
def fleet(house):
    """A house with twelve accounts."""
    for name in NAMES:
        house.enrol(name)
    return house


def attempt(house, name):
    """What a refresh comes to: `ok`, or the name of the error."""
    try:
        house.refresh(house.account(name))
    except WorkerError as error:
        return type(error).__name__
    return "ok"


def attempts(house, names=NAMES):
    return [attempt(house, name) for name in names]


def states(house, names=NAMES):
    return [str(house.account(name).state) for name in names]


def refused(house):
    """The open incident."""
    return house.store.incidents.find_open("arlo", GRANTS_REFUSED)


def probe(house, steps=STEPS):
    """Let so much time pass, with a look after each step."""
    for seconds in steps:
        house.clock.advance(seconds)
        house.refresher.tend()


class TestHold:
    """From the fifth on."""

    def test_first_four_are_flagged_and_the_others_held(self, fleet, sandbox):
        """The incident names the numbers and the canary."""
        sandbox.fault("token", "invalid_grant", times=-1)
        assert attempts(fleet) == ["NeedsConsent"] * 4 + ["TryAgainLater"] * 8
        assert states(fleet) == ["needs_consent"] * 4 + ["in_doubt"] * 8
        assert fleet.told(IncidentOpened)[0].cause == (
            "5 of 12 accounts of arlo lost their grant within 0 s; flags are held, canary arlo/a00 is probed at"
            " 2026-01-01T00:02:00.000Z"
        )
        assert "12 of 12 accounts of arlo" in refused(fleet).cause

    def test_is_told_as_one_incident(self, fleet, sandbox):
        """Nobody is sent to the browser beyond the four who were before anyone could know."""
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        assert [event.kind for event in fleet.told(IncidentOpened)] == [GRANTS_REFUSED]
        assert [str(event.after) for event in fleet.told(AccountMoved)] == ["needs_consent"] * 4 + ["in_doubt"] * 8

    def test_held_account_is_not_called_for(self, fleet, sandbox):
        """Neither its own callers nor a session cost a call; they are told when to come back."""
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        calls = fleet.refresh_calls
        with pytest.raises(TryAgainLater, match="held") as caught:
            fleet.refresh(fleet.account("a11"))
        with pytest.raises(TryAgainLater, match="held"):
            fleet.session(fleet.account("a11")).get("events/")
        assert (fleet.refresh_calls, caught.value.after) == (calls, 120)

    @pytest.mark.parametrize("count", [1, 2, 3, 4])
    def test_few_accounts_are_flagged_at_once(self, house, sandbox, count):
        """However large their part is: an owner who withdraws his consent is told of at once."""
        for name in NAMES[:count]:
            house.enrol(name)
            sandbox.revoke(name)
        assert attempts(house, NAMES[:count]) == ["NeedsConsent"] * count
        assert (states(house, NAMES[:count]), refused(house)) == (["needs_consent"] * count, None)

    def test_small_part_of_many_is_flagged_at_once(self, house, sandbox):
        """Five of thirty are no outage."""
        for name in NAMES[:5]:
            house.enrol(name)
            sandbox.revoke(name)
        for number in range(25):
            house.admit(f"b{number}")
        assert attempts(house, NAMES[:5]) == ["NeedsConsent"] * 5

    def test_slow_trickle_is_flagged_at_once(self, fleet, sandbox, clock):
        """Twelve revocations, one every three minutes: never five within ten."""
        for name in NAMES:
            sandbox.revoke(name)
            assert attempt(fleet, name) == "NeedsConsent"
            clock.advance(180)
        assert refused(fleet) is None

    def test_lost_rotations_do_not_count(self, fleet, sandbox, clock):
        """Their own doubt explains them: they are flagged, and hold nobody else."""
        fleet.configure(connect_timeout=1.0, read_timeout=0.3)
        for name in NAMES[:6]:
            sandbox.fault("token", "reset_after")
            assert attempt(fleet, name) == "TryAgainLater"
        clock.advance(3000)
        assert attempts(fleet, NAMES[:6]) == ["NeedsConsent"] * 6
        assert refused(fleet) is None

    def test_can_be_switched_off(self, fleet, sandbox):
        """`mass_refusal_accounts = 0`."""
        fleet.configure(mass_refusal_accounts=0)
        sandbox.fault("token", "invalid_grant", times=-1)
        assert attempts(fleet) == ["NeedsConsent"] * 12

    def test_is_decided_in_the_store(self, fleet, sandbox):
        """Each account is refreshed by a process of its own; together they are too many."""
        sandbox.fault("token", "invalid_grant", times=-1)
        for name in NAMES:
            fleet.refresher = fleet.new_refresher()
            attempt(fleet, name)
        assert states(fleet).count("in_doubt") == 8

    def test_burst_of_threads_cannot_slip_through(self, fleet, sandbox):
        """Twelve at the same moment: four are flagged, and not one more."""
        sandbox.fault("token", "invalid_grant", times=-1)
        accounts = [fleet.account(name) for name in NAMES]
        at_once([lambda account=account: fleet.refresh(account) for account in accounts])
        assert sorted(states(fleet)) == ["in_doubt"] * 8 + ["needs_consent"] * 4
        assert len(fleet.told(IncidentOpened)) == 1


class TestRelease:
    """The canary works."""

    @pytest.fixture
    def healed(self, fleet, sandbox):
        """An outage of the provider that has just passed."""
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        sandbox.clear_faults()
        return fleet

    def test_brings_everybody_back(self, healed):
        """Those too who were flagged before the others: after one probe all are active, and the incident is over."""
        calls = healed.refresh_calls
        probe(healed, STEPS[:1])
        assert (states(healed), refused(healed)) == (["active"] * 12, None)
        assert healed.refresh_calls == calls + 1
        (closed,) = healed.told(IncidentClosed)
        assert closed.cause == "canary arlo/a00 was refreshed; 11 accounts go on"
        assert attempts(healed) == ["ok"] * 12

    def test_makes_missed_runs_due(self, healed):
        """What was skipped while they were held."""
        account, clock = healed.account("a11"), healed.clock
        healed.store.schedule.ensure("sync", {account.id: clock.now()})
        healed.store.runs.skip(healed.store.schedule.entry("sync", account.id), "held", clock.now(), clock.now() + 9e5)
        probe(healed, STEPS[:1])
        assert healed.store.schedule.entry("sync", account.id).next_due == clock.now()

    def test_refusal_afterwards_is_the_accounts_own(self, healed, sandbox):
        """Each tries for itself, and is not held a second time."""
        probe(healed, STEPS[:1])
        for name in NAMES[1:]:
            sandbox.revoke(name)
        assert attempts(healed, NAMES[1:]) == ["NeedsConsent"] * 11
        assert refused(healed) is None

    def test_goes_on_after_a_crash_before_it(self, healed, sandbox):
        """The canary's tokens are stored, and the process dies: the next look finds another canary."""
        from worker.redact import Secret
        from worker.store.records import NewTokens

        issued = sandbox.grant("a00", ["offline_access"])
        tokens = NewTokens(Secret(issued["access_token"]), Secret(issued["refresh_token"]), "Bearer", 60.0, 0.0, None)
        healed.store.grants.complete_refresh(healed.grant("a00"), tokens, healed.clock.now())
        assert states(healed).count("active") == 1
        healed.refresher = healed.new_refresher()
        probe(healed, STEPS[:1])
        assert (states(healed), refused(healed)) == (["active"] * 12, None)

    def test_is_probed_once_however_many_look(self, healed):
        """Eight processes at the same moment: one call."""
        calls = healed.refresh_calls
        healed.clock.advance(120)
        at_once([healed.new_refresher().tend for _ in range(8)])
        assert (healed.refresh_calls, states(healed)) == (calls + 1, ["active"] * 12)

    def test_spares_whoever_is_paused(self, healed):
        """A paused account is no canary; it is active when it is resumed."""
        healed.store.accounts.pause(healed.account("a00"), healed.clock.now(), "")
        healed.store.accounts.pause(healed.account("a11"), healed.clock.now(), "")
        probe(healed, STEPS[:1])
        assert states(healed, ["a00", "a11"]) == ["paused"] * 2
        for name in ("a00", "a11"):
            healed.store.accounts.resume(healed.account(name), healed.clock.now())
        assert states(healed) == ["active"] * 12

    def test_can_be_decided_by_the_operator(self, healed):
        """At once, without a call."""
        calls = healed.refresh_calls
        assert len(healed.refresher.fleet.release("arlo", "decided by the operator")) == 12
        assert (states(healed), refused(healed), healed.refresh_calls) == (["active"] * 12, None, calls)


class TestConfirm:
    """The canary is refused to the end."""

    @pytest.fixture
    def revoked(self, fleet, sandbox):
        """Somebody has revoked all grants, for good."""
        for name in NAMES:
            sandbox.revoke(name)
        attempts(fleet)
        return fleet

    def test_flags_everybody_with_his_own_evidence(self, revoked):
        """After half an hour and five probes."""
        calls = revoked.refresh_calls
        probe(revoked, STEPS[:4])
        assert states(revoked) == ["needs_consent"] * 4 + ["in_doubt"] * 8
        probe(revoked, STEPS[4:])
        assert (states(revoked), refused(revoked)) == (["needs_consent"] * 12, None)
        assert {revoked.account(name).cause for name in NAMES} == {"revoked"}
        assert revoked.store.timeline.of(revoked.account("a11"))[-1].evidence["error"] == "invalid_grant"
        assert revoked.refresh_calls == calls + 5

    def test_tells_those_who_have_not_been_told(self, revoked):
        """Four were at the start, eight are now; each with the link that mends it."""
        probe(revoked)
        told = [event for event in revoked.told(AccountMoved) if str(event.after) == "needs_consent"]
        assert sorted(event.account for event in told) == NAMES
        assert told[-1].remedy == "worker enroll arlo a11"

    def test_is_not_followed_by_another_hold(self, revoked):
        """They are dead, and nobody counts them again."""
        probe(revoked)
        revoked.enrol("late")
        revoked.sandbox.revoke("late")
        assert attempt(revoked, "late") == "NeedsConsent"
        assert refused(revoked) is None

    def test_accounts_go_on_after_a_new_consent(self, revoked):
        """In the middle of it: the canary consents, another one takes its place, and the consent stands."""
        probe(revoked, STEPS[:1])
        revoked.enrol("a00")
        probe(revoked, STEPS[1:])
        assert states(revoked) == ["active"] + ["needs_consent"] * 11

    def test_ends_when_nobody_is_held_any_more(self, revoked):
        """All were removed or consented anew: the incident is over with the next look."""
        for name in NAMES[:6]:
            revoked.enrol(name)
        for name in NAMES[6:]:
            revoked.store.accounts.remove(revoked.account(name))
        probe(revoked, STEPS[:1])
        assert refused(revoked) is None

    def test_can_be_decided_by_the_operator(self, revoked):
        """At once, without a call."""
        calls = revoked.refresh_calls
        revoked.refresher.fleet.confirm("arlo", "decided by the operator")
        assert (states(revoked), refused(revoked)) == (["needs_consent"] * 12, None)
        assert revoked.refresh_calls == calls

    def test_flags_a_paused_account_for_when_it_is_resumed(self, revoked):
        """A pause hides the state and does not lose it."""
        revoked.store.accounts.pause(revoked.account("a11"), revoked.clock.now(), "")
        probe(revoked)
        assert states(revoked, ["a11"]) == ["paused"]
        revoked.store.accounts.resume(revoked.account("a11"), revoked.clock.now())
        assert (states(revoked, ["a11"]), revoked.account("a11").cause) == (["needs_consent"], "revoked")

    def test_held_account_stays_held_over_a_pause(self, revoked):
        """Resumed before the canary has told."""
        revoked.store.accounts.pause(revoked.account("a11"), revoked.clock.now(), "")
        revoked.store.accounts.resume(revoked.account("a11"), revoked.clock.now())
        assert (revoked.account("a11").state, revoked.account("a11").usable) == ("in_doubt", False)
        with pytest.raises(TryAgainLater, match="held"):
            revoked.refresh(revoked.account("a11"))


class TestCanary:
    """A probe that tells nothing."""

    @pytest.mark.parametrize("kind", ["http_503", "http_429", "html", "invalid_client", "timeout"])
    def test_transient_answer_decides_nothing(self, fleet, sandbox, kind):
        """Neither way, not even at the end: everybody goes on waiting, and the incident stays."""
        fleet.configure(connect_timeout=1.0, read_timeout=0.3)
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        sandbox.clear_faults()
        sandbox.fault("token", kind, times=-1)
        probe(fleet, [600] * 6)
        assert states(fleet) == ["needs_consent"] * 4 + ["in_doubt"] * 8
        assert refused(fleet) is not None
        sandbox.clear_faults()
        probe(fleet, [3600, 3600])
        assert refused(fleet) is None
        assert attempts(fleet) == ["ok"] * 12

    def test_lost_answer_passes_the_task_on(self, fleet, sandbox):
        """Its refresh token may be spent, so its next refusal would say nothing about the others."""
        fleet.configure(connect_timeout=1.0, read_timeout=0.3)
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        sandbox.clear_faults()
        sandbox.fault("token", "reset_after")
        probe(fleet, [120])
        assert refused(fleet) is not None
        probe(fleet, [600])
        assert (states(fleet, NAMES[1:]), refused(fleet)) == (["active"] * 11, None)
        with pytest.raises(NeedsConsent):
            fleet.refresh(fleet.account("a00"))
        assert fleet.account("a00").cause == "lost in rotation"

    def test_lost_answer_is_said_when_all_are_confirmed(self, fleet, sandbox):
        """Of the canary whose token may have been spent by a probe, and of nobody else."""
        fleet.configure(connect_timeout=1.0, read_timeout=0.3)
        for name in NAMES[1:]:
            sandbox.revoke(name)
        sandbox.fault("token", "invalid_grant", user="a00")
        attempts(fleet)
        sandbox.fault("token", "reset_after", user="a00")
        probe(fleet, [120, 600, 600, 600])
        assert states(fleet) == ["needs_consent"] * 12
        assert [fleet.account(name).cause for name in NAMES[:2]] == ["lost in rotation", "revoked"]

    def test_consent_in_the_middle_of_a_probe_stands(self, fleet, sandbox, serve):
        """The answer is about a grant that is gone; the next one is probed."""
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        sandbox.clear_faults()
        refusal = b'{"error": "invalid_grant"}'
        slow = serve(Answer(400, refusal, [("Content-Type", "application/json")], before=lambda: fleet.enrol("a00")))
        fleet.configure(token_url=f"{slow.origin}/token")
        probe(fleet, [120])
        assert (states(fleet, ["a00"]), "canary arlo/a01" in refused(fleet).cause) == (["active"], True)
        fleet.configure(token_url=sandbox.token_url)
        probe(fleet, [600])
        assert states(fleet) == ["active"] * 12

    def test_is_another_one_each_time(self, fleet, sandbox):
        """An owner who has withdrawn his consent just before an outage must not speak for all the others."""
        sandbox.revoke("a00")
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        sandbox.clear_faults()
        probe(fleet, STEPS[:2])
        assert (states(fleet), refused(fleet)) == (["active"] * 12, None)
        assert attempts(fleet) == ["NeedsConsent"] + ["ok"] * 11

    def test_tokens_count_more_than_a_decision_made_meanwhile(self, fleet, sandbox, serve):
        """Confirmed by an operator while the probe was under way: this grant is alive, whatever was said of it."""
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        tokens = b'{"access_token": "a2", "refresh_token": "r2", "expires_in": 60}'

        def decide():
            fleet.refresher.fleet.confirm("arlo", "decided by the operator")

        slow = serve(Answer(200, tokens, [("Content-Type", "application/json")], before=decide))
        fleet.configure(token_url=f"{slow.origin}/token")
        probe(fleet, [120])
        assert states(fleet) == ["active"] + ["needs_consent"] * 11
        assert fleet.grant("a00").generation == 2

    def test_lost_answers_do_not_use_up_one_account_after_the_other(self, fleet, sandbox):
        """Each may spend a refresh token: however often somebody looks, one in five minutes."""
        fleet.configure(connect_timeout=1.0, read_timeout=0.3)
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        sandbox.clear_faults()
        sandbox.fault("token", "reset_after", times=-1)
        calls = fleet.refresh_calls
        probe(fleet, [120] + [30] * 9)
        assert fleet.refresh_calls == calls + 1

    def test_takes_no_account_whose_lock_is_held(self, fleet, sandbox):
        """Somebody is at it: the next look tries again."""
        from worker.store.locks import account_lock

        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        sandbox.clear_faults()
        with fleet.store.locks.hold(account_lock(fleet.account("a00").id)):
            at_once([lambda: probe(fleet, [120])])
        assert refused(fleet) is not None
        probe(fleet, [600])
        assert refused(fleet) is None

    def test_of_an_integration_that_left_the_configuration_waits(self, fleet, sandbox):
        """Nobody can be asked; nothing is decided."""
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        client = fleet.clients.pop("arlo")
        probe(fleet)
        fleet.clients["arlo"] = client
        assert states(fleet).count("in_doubt") == 8


def test_account_flagged_for_a_scope_is_not_held(fleet, sandbox, clock):
    """It needs its owner anyway."""
    fleet.store.accounts.flag_scope(fleet.account("a11"), Finding("insufficient_scope", "lacks x"), clock.now())
    sandbox.fault("token", "invalid_grant", times=-1)
    attempts(fleet)
    assert (fleet.account("a11").state, fleet.account("a11").cause) == ("needs_consent", "revoked")


class TestScope:
    """A job of a held account finds that it lacks a scope: its access token still worked."""

    @pytest.fixture
    def lacking(self, fleet, sandbox, clock):
        """Twelve accounts refused, the last of them held, and flagged for a scope."""
        sandbox.fault("token", "invalid_grant", times=-1)
        attempts(fleet)
        fleet.store.accounts.flag_scope(fleet.account("a11"), Finding("insufficient_scope", "lacks x"), clock.now())
        return fleet

    def test_is_not_called_for(self, lacking):
        """The hold goes on."""
        calls = lacking.refresh_calls
        with pytest.raises(TryAgainLater, match="held"):
            lacking.refresh(lacking.account("a11"))
        assert lacking.refresh_calls == calls

    def test_is_still_told_when_the_others_go_on(self, lacking, sandbox):
        """The grant works, and lacks the scope."""
        sandbox.clear_faults()
        probe(lacking, [120])
        account = lacking.account("a11")
        assert (account.state, account.cause, attempt(lacking, "a11")) == ("needs_consent", "insufficient_scope", "ok")

    def test_is_still_told_of_the_canary_itself(self, lacking, sandbox):
        """The others have consented anew."""
        for name in NAMES[:-1]:
            lacking.enrol(name)
        sandbox.clear_faults()
        probe(lacking, [120])
        account = lacking.account("a11")
        assert (account.state, account.cause) == ("needs_consent", "insufficient_scope")
        assert (lacking.grant("a11").generation, refused(lacking)) == (2, None)

    def test_is_flagged_when_the_grants_are_dead(self, lacking):
        """That is the worse reason."""
        probe(lacking)
        assert (lacking.account("a11").state, lacking.account("a11").cause) == ("needs_consent", "revoked")
