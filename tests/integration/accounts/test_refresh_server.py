"""PostgreSQL goes away, refuses, fills up, forgets who held which lock: no refresh token is spent twice.

The faults are the server's own. Two stores stand for two processes: each has its connections and its locks.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from account_house import House
from small_disk import mounted

from worker.accounts.keeping import NotStored
from worker.errors import Busy, StoreUnusable, TryAgainLater, WorkerError
from worker.store.advisory_locks import OUTLIVES, AdvisoryLocks
from worker.store.locks import account_lock
from worker.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.store.store import Store

LOCKS = "starts_with(application_name, 'headless-worker: ')"
OURS = "starts_with(application_name, 'headless-worker')"


class Server:
    """What an administrator does to the server, on a connection of his own."""

    def __init__(self, url: str, database: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.database = database

    def do(self, statement: str) -> None:
        """Any statement."""
        self.connection.execute(statement)  # type: ignore[arg-type]

    def end_sessions(self, which: str) -> int:
        """Terminate sessions of the store's database; answers how many."""
        query = (
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
            f" WHERE datname = %s AND pid <> pg_backend_pid() AND {which}"
        )
        row = self.connection.execute(query, (self.database,)).fetchone()  # type: ignore[arg-type]
        return int(row[0]) if row else 0


@pytest.fixture
def server(postgresql_server: str, postgresql_store: Store) -> Iterator[Server]:
    """The administrator."""
    server = Server(postgresql_server, str(postgresql_store.database.url.database))
    yield server
    server.connection.close()


@pytest.fixture
def role(server: Server, postgresql_store: Store) -> Iterator[str]:
    """The URL of the store for a role that is no superuser: limits and rights count for it."""
    name = f"app_{server.database}"
    server.do(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    with postgresql_store.database.write() as session:
        raw = session.connection()
        raw.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
        raw.exec_driver_sql(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}")
    yield postgresql_store.database.url.set(username=name, password="x").render_as_string(hide_password=False)
    server.end_sessions(OURS)
    with postgresql_store.database.write() as session:
        session.connection().exec_driver_sql(f"DROP OWNED BY {name}")
    server.do(f"DROP ROLE {name}")


@pytest.fixture
def hosted(postgresql_store: Store, tmp_path, clock, sandbox) -> House:
    """An enrolled account whose store is on the server."""
    house = House(tmp_path, postgresql_store, clock, sandbox)
    house.enrol()
    house.refresher = house.new_refresher(store_pauses=(0.05, 0.1, 0.2))
    return house


@pytest.fixture
def second(hosted: House, sealer, clock, sandbox, tmp_path) -> Iterator[House]:
    """The same accounts in another process."""
    url = hosted.store.database.url.render_as_string(hide_password=False)
    store = open_store(url, tmp_path / "second", sealer, clock.now())
    yield House(tmp_path, store, clock, sandbox)
    store.close()


def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread or the server does."""
    pause = threading.Event()
    for _ in range(400):
        if condition():
            return
        pause.wait(0.05)
    pytest.fail("it did not happen")


@contextmanager
def refreshing(house: House, sandbox) -> Iterator[list[object]]:
    """A refresh whose answer is on its way for a second; what came of it is there at the end."""
    account, results = house.account(), []
    sandbox.set(token_delay=1.0)

    def refresh() -> None:
        try:
            results.append(house.refresher.refresh(account.id, 1).generation)
        except WorkerError as error:
            results.append(error)

    thread = threading.Thread(target=refresh)
    thread.start()
    until(lambda: sandbox.stats()["peak_concurrent_token_calls"])
    try:
        yield results
    finally:
        thread.join()


class TestCommit:
    """The connection breaks while the new tokens are being committed."""

    def test_whose_answer_was_lost_counts_as_the_success_it_was(self, hosted, server, sandbox):
        """The server has committed and waits for a standby; its session is ended before it could say so."""
        try:
            with refreshing(hosted, sandbox) as results:
                server.do("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
                server.do("SELECT pg_reload_conf()")
                until(lambda: server.end_sessions("wait_event = 'SyncRep'"))
                server.do("ALTER SYSTEM RESET synchronous_standby_names")
                server.do("SELECT pg_reload_conf()")
        finally:
            server.do("ALTER SYSTEM RESET synchronous_standby_names")
            server.do("SELECT pg_reload_conf()")
        refreshed = [entry for entry in hosted.store.timeline.of(hosted.account()) if entry.kind == "refreshed"]
        assert (results, len(refreshed)) == ([2], 1)
        assert (hosted.refresh_calls, sandbox.stats()["reuse_detected"]) == (1, 0)

    def test_that_did_not_take_place_is_made_again(self, hosted, server, sandbox):
        """Every session is ended in the middle of the transaction: it was undone, and is done once more."""
        with hosted.store.database.write() as session:
            session.connection().exec_driver_sql(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql"
                " AS 'BEGIN PERFORM pg_sleep(3); RETURN NEW; END'"
            )
            session.connection().exec_driver_sql(
                "CREATE TRIGGER slow BEFORE UPDATE OF sealed_refresh_token ON grant_"
                " FOR EACH ROW EXECUTE FUNCTION slow()"
            )
        with refreshing(hosted, sandbox) as results:
            until(lambda: _sleeping(server))
            server.end_sessions(OURS)
            with psycopg.connect(_plain(hosted.store), autocommit=True) as other:
                other.execute("DROP TRIGGER IF EXISTS slow ON grant_")
        if isinstance(results[0], NotStored):
            until(lambda: hosted.grant().generation == 2)
        assert (hosted.grant().generation, hosted.refresh_calls) == (2, 1)
        assert sandbox.stats()["reuse_detected"] == 0


def _sleeping(server: Server) -> bool:
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"
    return server.connection.execute(query, (server.database,)).fetchone() is not None


def _plain(store: Store) -> str:
    return store.database.url.set(drivername="postgresql").render_as_string(hide_password=False)


class TestNotBegun:
    """No token call while the server does not let us write; and afterwards, one."""

    def check(
        self, house: House, account: int, expected: tuple[type[WorkerError], str], mend: Callable[[], None]
    ) -> None:
        raised, words = expected
        with pytest.raises(raised, match=words) as caught:
            house.refresher.refresh(account, 1)
        assert (house.refresh_calls, bool(caught.value.hint)) == (0, True)
        assert caught.value.exit_code == (75 if issubclass(raised, TryAgainLater) else 78)
        mend()
        assert house.refresher.refresh(account, 1).generation == 2
        assert house.refresh_calls == 1

    def test_on_a_standby(self, hosted, server):
        """Or where default_transaction_read_only says so."""
        account = hosted.account().id
        server.do(f"ALTER DATABASE {server.database} SET default_transaction_read_only = on")
        server.end_sessions(OURS)

        def mend() -> None:
            server.do(f"ALTER DATABASE {server.database} RESET default_transaction_read_only")
            server.end_sessions(OURS)

        self.check(hosted, account, (StoreUnusable, "read-only transaction"), mend)

    def test_without_the_server(self, hosted, server):
        """It ends all sessions and takes no new ones, as when it is shut down."""
        account = hosted.account().id
        server.do(f"ALTER DATABASE {server.database} ALLOW_CONNECTIONS false")
        server.end_sessions(OURS)

        def mend() -> None:
            server.do(f"ALTER DATABASE {server.database} ALLOW_CONNECTIONS true")

        self.check(hosted, account, (TryAgainLater, "not currently accepting connections"), mend)

    def test_with_too_many_connections(self, hosted, role, server, sealer, clock, sandbox, tmp_path):
        """The role's limit is used up."""
        account = hosted.account().id
        house = House(tmp_path, open_store(role, tmp_path / "role", sealer, clock.now()), clock, sandbox)
        name = f"app_{server.database}"
        server.do(f"ALTER ROLE {name} CONNECTION LIMIT 0")
        server.end_sessions(OURS)

        def mend() -> None:
            server.do(f"ALTER ROLE {name} CONNECTION LIMIT -1")

        self.check(house, account, (TryAgainLater, "too many connections"), mend)
        house.store.close()

    def test_without_the_rights(self, hosted, role, server, sealer, clock, sandbox, tmp_path):
        """Named, with what to do."""
        account = hosted.account().id
        house = House(tmp_path, open_store(role, tmp_path / "role", sealer, clock.now()), clock, sandbox)
        name = f"app_{server.database}"

        def change(statement: str) -> None:
            with hosted.store.database.write() as session:
                session.connection().exec_driver_sql(statement)

        change(f"REVOKE INSERT ON refresh_intent FROM {name}")
        expected = (StoreUnusable, "permission denied for table refresh_intent")
        self.check(house, account, expected, lambda: change(f"GRANT ALL ON refresh_intent TO {name}"))
        house.store.close()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the server a disk")
    def test_on_a_full_disk(self, hosted, server):
        """Intents lie on a small disk, which is full."""
        account = hosted.account().id
        folder = Path(tempfile.mkdtemp(prefix="pgdisk"))
        folder.chmod(0o755)
        owner = server.connection.execute("SHOW data_directory").fetchone()
        assert owner is not None
        status = Path(owner[0]).stat()
        with mounted(folder / "disk") as disk:
            (disk.path / "data").mkdir()
            for path in (disk.path, disk.path / "data"):
                os.chown(path, status.st_uid, status.st_gid)
            space = f"small_{server.database}"
            server.do(f"CREATE TABLESPACE {space} LOCATION '{disk.path}/data'")
            with hosted.store.database.write() as session:
                session.connection().exec_driver_sql(f"ALTER TABLE refresh_intent SET TABLESPACE {space}")
            disk.fill()
            try:
                self.check(hosted, account, (TryAgainLater, "could not extend file"), disk.empty)
            finally:
                with hosted.store.database.write() as session:
                    session.connection().exec_driver_sql("ALTER TABLE refresh_intent SET TABLESPACE pg_default")
                server.do(f"DROP TABLESPACE {space}")
        shutil.rmtree(folder)


class TestLostLock:
    """A session lock can end before its holder."""

    def test_second_process_does_not_send_what_the_first_has_sent(self, hosted, second, server, sandbox):
        """The server forgets the lock while the first waits for its answer: the second finds the intent, and waits."""
        account = hosted.account().id
        with refreshing(hosted, sandbox) as results:
            assert server.end_sessions(LOCKS) == 1
            with pytest.raises(TryAgainLater, match="may still be at it") as caught:
                second.refresher.refresh(account, 1)
            assert caught.value.after is not None
        assert results == [2]
        assert second.refresher.refresh(account, 1).generation == 2
        assert (hosted.refresh_calls, sandbox.stats()["reuse_detected"]) == (1, 0)

    def test_threads_of_one_process_are_kept_apart_all_the_same(self, hosted, server, sandbox):
        """By the process itself."""
        account = hosted.account()
        with refreshing(hosted, sandbox):
            assert server.end_sessions(LOCKS) == 1
            with pytest.raises(Busy), hosted.store.locks.hold(account_lock(account.id), patience=0):
                pass

    def test_waiting_tokens_get_their_lock_back(self, hosted, second, server, sandbox):
        """The one who has tokens in memory takes the lock again with his next try, and keeps everybody out."""
        account = hosted.account()
        with refreshing(hosted, sandbox) as results:
            server.do(f"ALTER DATABASE {server.database} SET default_transaction_read_only = on")
            server.end_sessions(OURS)
        assert isinstance(results[0], NotStored)

        def taken() -> bool:
            try:
                with second.store.locks.hold(account_lock(account.id), patience=0):
                    return False
            except Busy:
                return True

        until(taken)
        server.do(f"ALTER DATABASE {server.database} RESET default_transaction_read_only")
        server.end_sessions(f"{OURS} AND NOT {LOCKS}")
        until(lambda: hosted.grant().generation == 2)
        assert (hosted.refresh_calls, sandbox.stats()["reuse_detected"]) == (1, 0)

    def test_account_of_a_dead_holder_is_left_alone_for_as_long_as_a_request_may_take(self, hosted, clock):
        """Nobody can tell a dead holder from one that has lost its lock: after that time, there is none."""
        hosted.store.locks = AdvisoryLocks(hosted.store.database, renewal=0)
        grant = hosted.grant()
        hosted.store.grants.begin_refresh(grant, "process 1 on a machine that is gone", clock.now())
        with pytest.raises(TryAgainLater, match="may still be at it") as caught:
            hosted.refresher.refresh(grant.account.id, 1)
        assert (caught.value.after, hosted.refresh_calls) == (OUTLIVES, 0)
        clock.advance(OUTLIVES)
        assert hosted.refresher.refresh(grant.account.id, 1).generation == 2

    def test_slow_authorization_server_is_given_its_time(self, hosted, clock):
        """Where it may be silent for ten minutes, so may whoever has asked it."""
        hosted.store.locks = AdvisoryLocks(hosted.store.database, renewal=0)
        hosted.configure(connect_timeout=10.0, read_timeout=600.0)
        grant = hosted.grant()
        hosted.store.grants.begin_refresh(grant, "process 1 on a machine that is gone", clock.now())
        clock.advance(OUTLIVES)
        with pytest.raises(TryAgainLater, match="may still be at it") as caught:
            hosted.refresher.refresh(grant.account.id, 1)
        assert caught.value.after == 10 + 2 * 600 - OUTLIVES

    def test_account_that_was_left_in_doubt_is_not_waited_for(self, hosted, clock, sandbox):
        """Its holder has said that he is done: only the pause after a failure counts."""
        hosted.store.locks = AdvisoryLocks(hosted.store.database, renewal=0)
        sandbox.fault("token", "reset_after")
        account = hosted.account()
        with pytest.raises(TryAgainLater):
            hosted.refresher.refresh(account.id, 1)
        assert hosted.grant().attempt_begun_at is None

    def test_young_server_is_waited_for(self, hosted, clock):
        """It has forgotten all locks: holders are given half a minute to take theirs again."""
        locks = AdvisoryLocks(hosted.store.database, renewal=1e9)
        assert locks.may_outlive(0.0, 1e9, 60) > OUTLIVES


class TestRenewal:
    """What a daemon does every few seconds."""

    def test_is_nothing_while_the_lock_is_held(self, hosted, second):
        """The same lock."""
        with hosted.store.locks.hold("daemon"):
            hosted.store.locks.renew("daemon")
            assert not _free(second, "daemon")
        assert _free(second, "daemon")

    def test_takes_a_lost_lock_again(self, hosted, second, server):
        """And it can be let go of afterwards."""
        with hosted.store.locks.hold("daemon"):
            server.end_sessions(LOCKS)
            hosted.store.locks.renew("daemon")
            assert not _free(second, "daemon")
        assert _free(second, "daemon")

    def test_names_who_has_it_now(self, hosted, second, server):
        """Another daemon was quicker: every further look says so, too."""
        with hosted.store.locks.hold("daemon"):
            server.end_sessions(LOCKS)
            with second.store.locks.hold("daemon", note="the second daemon"):
                for _ in range(2):
                    with pytest.raises(Busy, match="daemon is held by headless-worker: the second daemon"):
                        hosted.store.locks.renew("daemon")
            hosted.store.locks.renew("daemon")
            assert not _free(second, "daemon")


def _free(house: House, name: str) -> bool:
    try:
        with house.store.locks.hold(name, patience=0):
            return True
    except Busy:
        return False
