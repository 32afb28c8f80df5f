"""Sealing: what is sealed opens in its own place and nowhere else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.crypto.keyring import Keyring, new_key
from worker.crypto.sealing import Binding, Sealer, key_id_of
from worker.errors import KeyUnusable, TamperedSecret
from worker.redact import MASK, Scrubber, Secret

_HOME = Binding("grant", "a1b2", "refresh_token", 7)
_SECRET = Secret("s3cr3t-refresh-token")
_RING = Keyring((new_key("k1"),))
_NAMES = st.text(max_size=30).filter(lambda text: text.isprintable())
_BINDINGS = st.builds(Binding, _NAMES, _NAMES, _NAMES, st.integers(min_value=0, max_value=1 << 40))


@pytest.fixture
def sealer() -> Sealer:
    """Seals with one key."""
    return Sealer(_RING)


@given(value=st.text(), binding=_BINDINGS)
def test_sealed_value_opens_in_its_place(value: str, binding: Binding) -> None:
    """Any text, any binding: what goes in comes out."""
    sealer = Sealer(_RING)
    assert sealer.open(sealer.seal(Secret(value), binding), binding).reveal() == value


def test_sealed_value_with_lone_surrogates_opens() -> None:
    """JSON can carry half a surrogate pair; sealing an odd token must not lose the grant."""
    sealer = Sealer(_RING)
    assert sealer.open(sealer.seal(Secret("a\ud800b"), _HOME), _HOME).reveal() == "a\ud800b"


@given(first=_BINDINGS, second=_BINDINGS)
def test_bindings_that_differ_have_different_associated_data(first: Binding, second: Binding) -> None:
    """No two places read alike, whatever characters their names have."""
    assert (first.associated_data("k1") == second.associated_data("k1")) == (first == second)


def test_associated_data_keeps_the_parts_apart() -> None:
    """`ab` + `c` is not `a` + `bc`."""
    assert Binding("t", "ab", "c").associated_data("k") != Binding("t", "a", "bc").associated_data("k")


@pytest.mark.parametrize(
    ("elsewhere", "named"),
    [
        (replace(_HOME, table="client secret"), "client secret a1b2"),
        (replace(_HOME, row="ffff"), "grant ffff"),
        (replace(_HOME, field="access_token"), "field access_token"),
        (replace(_HOME, generation=8), "generation 8"),
        (replace(_HOME, generation=6), "generation 6"),
    ],
)
def test_sealed_value_moved_is_refused_and_named(sealer: Sealer, elsewhere: Binding, named: str) -> None:
    """Another table, row, field or generation: it does not open, and the message names the place."""
    with pytest.raises(TamperedSecret) as caught:
        sealer.open(sealer.seal(_SECRET, _HOME), elsewhere)
    assert named in caught.value.message


def test_sealed_value_never_shows_its_secret_in_the_refusal(sealer: Sealer) -> None:
    """Neither in the message nor in the evidence."""
    with pytest.raises(TamperedSecret) as caught:
        sealer.open(sealer.seal(_SECRET, _HOME), replace(_HOME, row="other"))
    assert _SECRET.reveal() not in f"{caught.value} {caught.value.evidence} {caught.value.hint}"


@given(position=st.integers(min_value=4), bit=st.integers(min_value=0, max_value=7))
def test_sealed_value_with_any_bit_flipped_is_refused(position: int, bit: int) -> None:
    """Nonce, ciphertext and tag are all covered."""
    sealer = Sealer(_RING)
    sealed = bytearray(sealer.seal(_SECRET, _HOME))
    sealed[4 + position % (len(sealed) - 4)] ^= 1 << bit
    with pytest.raises(TamperedSecret):
        sealer.open(bytes(sealed), _HOME)


@given(st.data())
def test_sealed_value_truncated_is_refused(data: st.DataObject) -> None:
    """Cut anywhere, it is refused as tampered with, never opened in part."""
    sealer = Sealer(_RING)
    sealed = sealer.seal(_SECRET, _HOME)
    with pytest.raises(TamperedSecret):
        sealer.open(sealed[: data.draw(st.integers(0, len(sealed) - 1))], _HOME)


@given(st.binary(max_size=200))
def test_garbage_is_refused_with_an_error_of_ours(garbage: bytes) -> None:
    """Whatever bytes stand in the column."""
    with pytest.raises((TamperedSecret, KeyUnusable)):
        Sealer(_RING).open(garbage, _HOME)


def test_truncated_value_names_place_and_size(sealer: Sealer) -> None:
    """An operator sees which value it is, and what is left of it."""
    with pytest.raises(TamperedSecret, match=r"grant a1b2, field refresh_token, generation 7: .* \(2 bytes\)"):
        sealer.open(b"\x01\x02", _HOME)


def test_value_of_an_unknown_key_names_the_key(sealer: Sealer) -> None:
    """The hint says what to do: put the old key back."""
    sealed = Sealer(Keyring((new_key("old"),))).seal(_SECRET, _HOME)
    with pytest.raises(KeyUnusable, match='sealed with key "old", which is not on the keyring') as caught:
        sealer.open(sealed, _HOME)
    assert "put the old key back" in caught.value.hint


def test_value_of_another_key_with_the_same_id_is_refused(sealer: Sealer) -> None:
    """A key id is a name, not a proof."""
    sealed = Sealer(Keyring((new_key("k1"),))).seal(_SECRET, _HOME)
    with pytest.raises(TamperedSecret, match="'k1'"):
        sealer.open(sealed, _HOME)


def test_value_relabelled_to_another_key_is_refused() -> None:
    """The key id is bound as well: same material under another name does not open."""
    key = new_key("k1")
    both = Keyring((key, replace(key, id="k2")))
    sealed = Sealer(Keyring((key,))).seal(_SECRET, _HOME)
    with pytest.raises(TamperedSecret):
        Sealer(both).open(sealed.replace(b"k1", b"k2", 1), _HOME)


def test_rotated_keyring_opens_old_values_and_seals_with_the_newest() -> None:
    """A rotation may take days: both keys work meanwhile."""
    old, new = new_key("k1"), new_key("k2")
    sealed = Sealer(Keyring((old,))).seal(_SECRET, _HOME)
    rotated = Sealer(Keyring((old, new)))
    assert rotated.open(sealed, _HOME) == _SECRET
    assert key_id_of(rotated.seal(_SECRET, _HOME)) == "k2"


def test_same_secret_never_seals_alike(sealer: Sealer) -> None:
    """Random nonces: equal tokens cannot be seen to be equal."""
    assert sealer.seal(_SECRET, _HOME) != sealer.seal(_SECRET, _HOME)


def test_key_id_of_something_else_is_none() -> None:
    """Not sealed by us."""
    assert (key_id_of(b""), key_id_of(b"\x02\x02k1")) == (None, None)


def test_sealer_shows_every_secret_to_the_scrubber() -> None:
    """Sealed or opened: from then on it is masked."""
    scrubber = Scrubber()
    sealed = Sealer(_RING).seal(_SECRET, _HOME)
    Sealer(_RING, scrubber).open(sealed, _HOME)
    assert scrubber(f"saw {_SECRET.reveal()} here") == f"saw {MASK} here"
