"""A restore: what was used since the backup is never sent again, and everything else goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from restore_story import LATER, Story
from sqlalchemy import text
from store_helpers import DEAD, NOW, enrol, entry, schedule, tokens

from worker.accounts.fleet import NEVER
from worker.crypto.sealing import Sealer
from worker.errors import KeyUnusable, NeedsConsent, StoreUnusable, UsageFault
from worker.states import AccountState, RunState
from worker.store.backup import back_up
from worker.store.comparison import RESTORED
from worker.store.grants import GenerationMoved
from worker.store.restore import Place, restore
from worker.store.runs import RunFilter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.crypto.keyring import Keyring
    from worker.store.store import Store


def test_restore_brings_the_accounts_of_the_backup(story: Story) -> None:
    """Nothing was used since: the account goes on with the same tokens."""
    account = enrol(story.store).account
    story.back_up()
    story.restore()
    grant = story.store.grants.read(account.id)
    assert story.account().state is AccountState.ACTIVE
    assert story.store.grants.read_refresh_token(grant).reveal() == "first-refresh-token"


def test_rotated_token_of_a_backup_is_never_handed_out(story: Story) -> None:
    """Not even to somebody who does not look at the account's state."""
    account = enrol(story.store).account
    story.back_up()
    story.refresh(account, times=3)
    story.restore()
    grant = story.store.grants.read(account.id)
    with pytest.raises(NeedsConsent, match="never sent"):
        story.store.grants.read_refresh_token(grant)


def test_rotated_account_needs_consent_and_says_which_generations(story: Story) -> None:
    """Cause and reason in words, in the state and in the timeline."""
    account = enrol(story.store).account
    story.back_up()
    story.refresh(account, times=3)
    report = story.restore()
    found = story.account()
    assert (found.state, found.cause) == (AccountState.NEEDS_CONSENT, RESTORED)
    assert found.reason == (
        "the backup of 2026-01-01T00:00:00.000Z holds refresh token generation 1; generation 4 was in use since:"
        " the old one is spent and is never sent"
    )
    assert [mark.account for mark in report.reconciled.needing] == ["acme"]
    assert story.store.timeline.of(found)[-1].cause == RESTORED


def test_account_that_does_not_rotate_goes_on_after_a_restore(story: Story) -> None:
    """Its refresh token is still the newest: sealed anew, above every generation that was ever reached."""
    account = enrol(story.store).account
    story.back_up()
    before = story.refresh(account, None, times=3)
    story.restore()
    grant = story.store.grants.read(account.id)
    assert story.account().state is AccountState.ACTIVE
    assert grant.generation > before.generation
    assert story.store.grants.read_refresh_token(grant).reveal() == "first-refresh-token"


def test_provider_that_repeats_its_refresh_token_counts_as_not_rotating(story: Story) -> None:
    """The same token in every answer."""
    account = enrol(story.store).account
    story.back_up()
    for _ in range(2):
        grant = story.store.grants.read(account.id)
        story.store.grants.begin_refresh(grant, "process 1", NOW)
        story.store.grants.complete_refresh(grant, tokens(refresh="first-refresh-token"), NOW)
    story.restore()
    assert story.account().state is AccountState.ACTIVE


def test_consent_after_a_restore_makes_the_account_active_for_good(story: Story) -> None:
    """Also for the next comparison: its generation is above the one that the witness has seen."""
    account = enrol(story.store).account
    story.back_up()
    story.refresh(account, times=3)
    story.restore()
    enrol(story.store)
    with story.store.database.write() as session:
        session.execute(text("UPDATE lineage SET mark = 'another'"))
    story.store.close()
    story.open()
    assert story.account().state is AccountState.ACTIVE
    assert story.store.grants.read_refresh_token(story.store.grants.read(account.id))


def test_consent_without_a_refresh_token_does_not_keep_the_spent_one(story: Story) -> None:
    """Some providers send a refresh token only at the first consent."""
    account = enrol(story.store).account
    story.back_up()
    story.refresh(account)
    story.restore()
    grant = enrol(story.store, tokens=tokens(refresh=None))
    assert not grant.has_refresh_token
    assert story.account().id == account.id


def test_revoked_account_does_not_come_back_active(story: Story) -> None:
    """What was taken away on purpose stays away, with its tokens."""
    account = enrol(story.store).account
    story.back_up()
    story.store.grants.erase(account, NOW)
    story.restore()
    assert story.account().state is AccountState.REVOKED
    with story.store.database.read() as session:
        sealed = session.execute(text("SELECT sealed_refresh_token, sealed_access_token FROM grant_")).one()
    assert tuple(sealed) == (None, None)


def test_removed_account_comes_back_revoked(story: Story) -> None:
    """Its history does, its grant does not."""
    account = enrol(story.store).account
    story.back_up()
    story.store.accounts.remove(account)
    story.restore()
    assert story.account().state is AccountState.REVOKED
    assert story.account().reason.endswith("it was removed since")


def test_account_enrolled_after_the_backup_is_told_by_name(story: Story) -> None:
    """It is not there any more; somebody has to know."""
    enrol(story.store)
    story.back_up()
    enrol(story.store, "globex")
    report = story.restore()
    assert report.reconciled.lost == ["arlo/globex"]


def test_pause_outlives_a_restore_and_ends_in_needing_consent(story: Story) -> None:
    """What a pause hides is told when it ends."""
    account = enrol(story.store).account
    story.store.accounts.pause(account, NOW, "")
    story.back_up()
    story.store.accounts.resume(account, NOW)
    story.refresh(account)
    story.restore()
    assert story.account().state is AccountState.PAUSED
    resumed = story.store.accounts.resume(account, LATER)
    assert (resumed.state, resumed.cause) == (AccountState.NEEDS_CONSENT, RESTORED)


def test_flagged_account_of_a_backup_is_told_why_anew(story: Story) -> None:
    """It was consented to since: what is missing now is that consent."""
    account = enrol(story.store).account
    story.store.grants.flag(story.store.grants.read(account.id), DEAD, NOW)
    story.back_up()
    enrol(story.store, tokens=tokens())
    story.restore()
    assert (story.account().state, story.account().cause) == (AccountState.NEEDS_CONSENT, RESTORED)


def test_refresh_under_way_in_the_backup_and_never_ended_is_in_doubt(story: Story) -> None:
    """The process died with it: whether the token was spent is unknown."""
    account = enrol(story.store).account
    story.store.grants.begin_refresh(story.store.grants.read(account.id), "process 1", NOW)
    story.back_up()
    story.restore()
    assert story.account().state is AccountState.IN_DOUBT


def test_refresh_under_way_in_the_backup_and_ended_since_is_spent(story: Story) -> None:
    """One generation ahead is no doubt when the witness knows that it was committed."""
    account = enrol(story.store).account
    grant = story.store.grants.read(account.id)
    story.store.grants.begin_refresh(grant, "process 1", NOW)
    story.back_up()
    story.store.grants.complete_refresh(grant, tokens(), NOW)
    story.restore()
    assert story.account().cause == RESTORED
    assert story.account().state is AccountState.NEEDS_CONSENT


def test_refresh_begun_after_the_backup_and_never_ended_is_in_doubt(story: Story) -> None:
    """The backup knows nothing of it; the witness does. A refusal will be called lost in rotation."""
    account = enrol(story.store).account
    story.back_up()
    story.store.grants.begin_refresh(story.store.grants.read(account.id), "process 1", NOW)
    story.restore()
    assert story.account().state is AccountState.IN_DOUBT
    assert "backup" in story.store.grants.doubt_of(story.store.grants.read(account.id))


def test_refresh_that_was_answered_without_tokens_is_no_doubt(story: Story) -> None:
    """A 503 after the backup: nothing was spent."""
    account = enrol(story.store).account
    story.back_up()
    grant = story.store.grants.read(account.id)
    story.store.grants.begin_refresh(grant, "process 1", NOW)
    story.store.grants.fail_refresh(grant, DEAD, NOW, not_before=NOW)
    story.restore()
    assert story.account().state is AccountState.ACTIVE


def test_answer_that_may_hide_a_rotation_is_in_doubt(story: Story) -> None:
    """A page in place of tokens, after the backup: the witness was told of no end."""
    account = enrol(story.store).account
    story.back_up()
    grant = story.store.grants.read(account.id)
    story.store.grants.begin_refresh(grant, "process 1", NOW)
    story.store.grants.fail_refresh(grant, DEAD, NOW, not_before=NOW, doubt="an answer 502 that nobody could read")
    story.restore()
    assert story.account().state is AccountState.IN_DOUBT


def test_answer_to_a_second_attempt_says_nothing_about_the_first(story: Story) -> None:
    """The first was never answered: that doubt outlives a 503, in a restored copy as well."""
    account = enrol(story.store).account
    story.back_up()
    grant = story.store.grants.read(account.id)
    for _ in range(2):
        story.store.grants.begin_refresh(grant, "process 1", NOW)
    story.store.grants.fail_refresh(grant, DEAD, NOW, not_before=NOW)
    story.restore()
    assert story.account().state is AccountState.IN_DOUBT


def test_refusal_after_the_backup_is_no_doubt(story: Story) -> None:
    """Nothing was rotated: should it be refused again, it is revoked, and not lost in rotation."""
    account = enrol(story.store).account
    story.back_up()
    grant = story.store.grants.read(account.id)
    story.store.grants.begin_refresh(grant, "process 1", NOW)
    story.store.holds.refuse(grant, DEAD, NOW, NEVER)
    story.restore()
    assert (story.account().state, story.store.grants.doubt_of(grant)) == (AccountState.ACTIVE, "")


def test_restore_without_a_witness_is_told_and_leaves_accounts_in_doubt(story: Story) -> None:
    """Another machine: nobody can tell what was used since, so the next use settles it."""
    account = enrol(story.store).account
    story.back_up()
    story.refresh(account, times=3)
    story.store.close()
    _forget(story)
    story.place.witness.unlink()
    report = story.restore()
    assert report.reconciled.unwitnessed
    assert story.account().state is AccountState.IN_DOUBT


def test_run_under_way_in_the_backup_is_interrupted(story: Story) -> None:
    """It starts again first."""
    grant = enrol(story.store)
    due = schedule(story.store, grant)
    story.store.schedule.claim(due, NOW, NOW + 60, "process 1", "schedule")
    story.back_up()
    report = story.restore()
    assert report.interrupted == 1
    assert [run.state for run in story.store.runs.list(RunFilter())] == [RunState.INTERRUPTED]
    assert entry(story.store, grant).trigger == "interrupted"


def test_restored_store_numbers_new_rows_above_the_old_ones(story: Story) -> None:
    """A server's sequences are not part of the rows."""
    enrol(story.store)
    story.back_up()
    story.restore()
    enrol(story.store, "globex")
    assert {account.name for account in story.store.accounts.list()} == {"acme", "globex"}


def test_late_answer_for_a_restored_account_is_refused(story: Story) -> None:
    """Whoever still holds the grant of before cannot write it: the generation has moved."""
    account = enrol(story.store).account
    story.back_up()
    before = story.refresh(account)
    story.restore()
    with pytest.raises(GenerationMoved):
        story.store.grants.complete_refresh(before, tokens(), LATER)


def test_replaced_database_is_kept_aside_and_can_be_restored_itself(story: Story) -> None:
    """A restore of the wrong file is undone: the newest tokens are back, and in use again."""
    account = enrol(story.store).account
    story.back_up()
    story.refresh(account, times=2)
    kept = story.restore().kept_aside
    assert kept is not None
    assert kept.stat().st_mode & 0o777 == 0o600
    story.restore(kept)
    assert story.account().state is AccountState.ACTIVE
    grant = story.store.grants.read(account.id)
    assert story.store.grants.read_refresh_token(grant).reveal() == "rotated-2"


def test_restore_while_somebody_has_the_store_open_is_refused(story: Story) -> None:
    """Whoever it is would go on with what is not the store any more."""
    enrol(story.store)
    story.back_up()
    with pytest.raises(StoreUnusable, match="use"):
        restore(story.place, story.backup, LATER)
    assert story.account().state is AccountState.ACTIVE


def test_restore_while_a_daemon_runs_names_it(story: Story) -> None:
    """As the second daemon does."""
    enrol(story.store)
    story.back_up()
    with (
        story.store.locks.hold("daemon", note="the daemon, process 7"),
        pytest.raises(StoreUnusable, match="the daemon, process 7"),
    ):
        restore(story.place, story.backup, LATER)


def _truncate(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def _damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for start in range(4096, len(content), 8192):
        content[start : start + 512] = b"\x55" * 512
    file.write_bytes(content)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _write_text(file: Path) -> None:
    file.write_text("not a database at all " * 400)


def _make_newer(file: Path) -> None:
    _execute(file, "UPDATE alembic_version SET version_num = '9999'")


def _make_foreign(file: Path) -> None:
    file.unlink()
    _execute(file, "CREATE TABLE account (id INTEGER)")


def _move_a_value(file: Path) -> None:
    _execute(file, "UPDATE grant_ SET sealed_refresh_token = sealed_access_token")


def _execute(file: Path, statement: str) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_truncate, "damaged|malformed|no backup"),
        (_damage, "damaged|malformed|no backup"),
        (_empty, "no backup"),
        (_write_text, "no backup"),
        (_make_newer, "schema 9999"),
        (_make_foreign, "no backup"),
        (_move_a_value, "do not open"),
    ],
)
def test_bad_backup_is_refused_and_the_store_is_what_it_was(
    story: Story, spoil: Callable[[Path], None], words: str
) -> None:
    """Looked over before anything is touched; nothing of it stays behind."""
    account = enrol(story.store).account
    story.back_up()
    spoil(story.backup)
    before = sorted(story.place.state_folder.iterdir())
    story.store.close()
    with pytest.raises(StoreUnusable, match=words):
        restore(story.place, story.backup, LATER)
    assert sorted(story.place.state_folder.iterdir()) == before
    story.open()
    assert story.store.grants.read_refresh_token(story.store.grants.read(account.id))


def test_backup_of_another_key_is_refused(story: Story, other_keyring: Keyring) -> None:
    """It could not be opened, whoever has put it there."""
    enrol(story.store)
    story.back_up()
    story.store.close()
    foreign = Place(story.place.url, story.place.state_folder, story.place.witness, Sealer(other_keyring))
    with pytest.raises(KeyUnusable, match=r"backup\.db"):
        restore(foreign, story.backup, LATER)


def test_database_itself_is_no_backup(sqlite_store: Store, tmp_path: Path, sealer: Sealer) -> None:
    """Whatever name it is given by."""
    sqlite_store.close()
    place = Place(str(sqlite_store.database.url), tmp_path / "state", tmp_path / "state" / "witness", sealer)
    (tmp_path / "link.db").symlink_to(sqlite_store.database.path)
    with pytest.raises(UsageFault, match="the database itself"):
        restore(place, tmp_path / "link.db", LATER)


def test_missing_backup_is_a_usage_fault(story: Story, tmp_path: Path) -> None:
    """A typo in its name."""
    with pytest.raises(UsageFault, match="no file"):
        restore(story.place, tmp_path / "nothing.db", LATER)


def test_damaged_database_is_replaced_and_kept(sqlite_store: Store, tmp_path: Path, sealer: Sealer) -> None:
    """The usual reason for a restore: what is left of the old one is kept, and the witness had its own copy."""
    path = sqlite_store.database.path
    account = enrol(sqlite_store).account
    back_up(sqlite_store.database, sealer, tmp_path / "backup.db", NOW)
    grant = sqlite_store.grants.read(account.id)
    sqlite_store.grants.begin_refresh(grant, "process 1", NOW)
    sqlite_store.grants.complete_refresh(grant, tokens(), NOW)
    sqlite_store.close()
    _damage(path)
    place = Place(f"sqlite:///{path}", tmp_path / "state", tmp_path / "state" / "witness", sealer)
    report = restore(place, tmp_path / "backup.db", LATER)
    assert report.unread
    assert report.kept_aside is not None
    assert [mark.account for mark in report.reconciled.needing] == ["acme"]


def _forget(story: Story) -> None:
    """Take the present database away, as a lost machine does."""
    if story.place.url.startswith("sqlite"):
        (story.place.state_folder / "worker.db").unlink()
        return
    import psycopg

    url = story.place.url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
