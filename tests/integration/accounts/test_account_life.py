"""The life of an account as a state machine: concurrent actors in any order, and what must hold after every step.

Two "processes" (two stores on one database file, with a refresher each) use one account, while its owner consents
anew, an operator pauses, resumes and revokes, the provider fails, loses answers and revokes, and processes crash. The
oracle is the provider: its own record of which grants are alive and what was reused.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from account_house import House, at_once
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from worker.crypto.keyring import Keyring, new_key
from worker.crypto.sealing import Sealer
from worker.engines.recovery import recover
from worker.errors import WorkerError
from worker.sandbox import Sandbox, SandboxConfig
from worker.states import ACCOUNT_MOVES, AccountState
from worker.store.database import Database
from worker.store.locks import FileLocks
from worker.store.migrate import upgrade
from worker.store.store import open_store
from worker.testing import ManualClock

#: The provider has not acted, and says so in one way or another.
HARMLESS = ("http_500", "http_503", "http_429", "html", "reset_before", "garbage", "unauthorized", "invalid_client")
#: The provider has acted, and the answer does not arrive whole.
LOSING = ("reset_after", "half_body")
#: Rounds of use before somebody ends a grant on purpose.
FULL_LIFE = 3
#: What is done at the same time; mostly use, or little would happen.
ACTORS = (*("use here", "use there") * 4, "consent", "pause", "resume", "resume", "look after the dead")


class AccountLife(RuleBasedStateMachine):
    """One account, from its first consent on."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="life"))
        self.clock = ManualClock()
        self.sandbox = Sandbox(
            SandboxConfig(rows=1, rate_limit=0, access_ttl=600, token_delay=0.005), clock=self.clock.now
        )
        self.sandbox.start()
        state = self.folder / "state"
        state.mkdir(mode=0o700)
        shutil.copy(self.template, state / "worker.db")
        self.keyring = Keyring((new_key("k1"),))
        self.here, self.there = self.process(), self.process()
        #: What may have happened to the grant that is stored now, as the test has caused it.
        self.losses = self.ended = False
        #: Rounds of use in all, and of this grant.
        self.lived = self.rounds = 0
        self.last_generation = 0
        #: How often the provider had seen a spent refresh token when that grant began.
        self.reused = 0

    def process(self) -> House:
        """Another process with the same files."""
        store = open_store(
            f"sqlite:///{self.folder / 'state' / 'worker.db'}",
            self.folder / "state",
            Sealer(self.keyring),
            self.clock.now(),
        )
        return House(self.folder, store, self.clock, self.sandbox)

    def teardown(self) -> None:
        """In the end the account works, or says truthfully that it cannot, and a consent mends it."""
        try:
            self.quiesce()
        finally:
            for house in (self.here, self.there):
                house.store.close()
            self.sandbox.stop()
            shutil.rmtree(self.folder)

    def quiesce(self) -> None:
        self.sandbox.clear_faults()
        self.clock.advance(86400)
        if self.account.state is AccountState.PAUSED:
            self.here.store.accounts.resume(self.account, self.clock.now())
        try:
            assert self.here.session(self.account).get("events/").status_code == 200
        except WorkerError:
            assert self.account.state in {AccountState.NEEDS_CONSENT, AccountState.REVOKED}
            self.here.consent()
            assert self.there.session(self.account).get("events/").status_code == 200

    @property
    def account(self):
        return self.here.account()

    @initialize()
    def enrol(self) -> None:
        self.here.consent()

    @precondition(lambda self: self.lived > FULL_LIFE)
    @rule(by_operator=st.booleans())
    def end_the_grant(self, by_operator: bool) -> None:
        # Asked here: a precondition that hung on who won a race would differ from one replay to the next.
        if self.rounds <= FULL_LIFE or self.account.state is AccountState.REVOKED:
            return
        if not by_operator:
            self.ended = self.sandbox.revoke("acme") > 0 or self.ended
            return
        try:
            self.here.enrolment.revoke(self.here.client, self.account)
        except WorkerError:
            return
        self.ended = True

    @rule(who=st.sampled_from(["here", "there"]))
    def crash_and_start_again(self, who: str) -> None:
        getattr(self, who).store.close()
        setattr(self, who, self.process())

    @rule(
        fault=st.sampled_from(["", *HARMLESS, *LOSING * 4, *[""] * 7]),
        early=st.booleans(),
        seconds=st.sampled_from([30, 600, 7200]),
        actors=st.lists(st.sampled_from(ACTORS), min_size=1, max_size=4),
    )
    def live(self, fault: str, early: bool, seconds: int, actors: list[str]) -> None:
        """A while passes, a fault waits at the token endpoint, several act at once; none may break."""
        self.clock.advance(seconds)
        self.sandbox.clear_faults()
        if fault:
            self.losses = self.losses or fault in LOSING
            self.sandbox.fault("token", fault, grant_type="refresh_token")
        if early:
            self.sandbox.expire()
        self.lived += 1
        self.rounds += 1
        if not self.account.usable:
            actors = ["consent", *actors]
        actions = {
            "use here": lambda: self.here.session(self.account).get("events/").status_code,
            "use there": lambda: self.there.session(self.there.account()).get("events/").status_code,
            "consent": self.here.consent,
            "pause": lambda: self.there.store.accounts.pause(self.account, self.clock.now(), ""),
            "resume": lambda: self.there.store.accounts.resume(self.account, self.clock.now()),
            "look after the dead": lambda: recover(self.there.store, self.clock.now(), frozenset()),
        }
        results = at_once([actions[actor] for actor in actors])
        for actor, result in zip(actors, results, strict=True):
            assert not isinstance(result, Exception) or isinstance(result, WorkerError), (actor, result)
            if actor == "consent" and not isinstance(result, Exception):
                # A grant of its own, that nothing has happened to; what was planned may have hit it already.
                self.ended, self.losses, self.rounds = False, fault in LOSING, 0
                self.reused = self.sandbox.stats()["reuse_detected"]

    @invariant()
    def generations_never_go_back(self) -> None:
        generation = self.here.store.grants.read(self.account.id).generation if self.has_grant else 0
        if generation:
            assert generation >= self.last_generation
            self.last_generation = generation

    @property
    def has_grant(self) -> bool:
        return bool(self.enrolled) and self.account.state is not AccountState.REVOKED

    @property
    def enrolled(self) -> bool:
        return self.here.store.accounts.find("arlo", "acme") is not None

    @invariant()
    def both_see_the_same(self) -> None:
        if self.has_grant:
            grants = [house.store.grants.read(self.account.id) for house in (self.here, self.there)]
            assert grants[0] == grants[1]
            assert self.here.refresh_token() == self.there.refresh_token()

    @invariant()
    def every_recorded_move_is_allowed(self) -> None:
        if not self.enrolled:
            return
        moves = [
            (entry.before, entry.after)
            for entry in self.here.store.timeline.of(self.account)
            if entry.before is not None and entry.after is not None and entry.before != entry.after
        ]
        assert all(AccountState(after) in ACCOUNT_MOVES[AccountState(before)] for before, after in moves), moves

    @invariant()
    def a_live_grant_is_never_flagged(self) -> None:
        """Unless an answer was lost, or somebody ended it, nobody is asked to consent."""
        if self.enrolled and not self.losses and not self.ended:
            assert self.account.state is not AccountState.NEEDS_CONSENT, self.account.reason

    @invariant()
    def a_lost_grant_is_not_called_revoked(self) -> None:
        if self.enrolled and self.losses and not self.ended and self.account.state is AccountState.NEEDS_CONSENT:
            assert self.account.cause == "lost in rotation", self.account.reason

    @invariant()
    def nothing_is_sent_twice(self) -> None:
        """The provider sees a spent refresh token only after an answer that was lost."""
        assert self.losses or self.sandbox.stats()["reuse_detected"] == self.reused


@pytest.fixture(scope="module", autouse=True)
def _template(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("life") / "worker.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database, FileLocks(path.parent / "locks"))
    database.close()
    AccountLife.template = path


TestAccountLife = AccountLife.TestCase
TestAccountLife.settings = settings(
    max_examples=12,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
