"""What the signatures of a selection are worth: by a key in force, by one that was replaced, by a stranger, over another record."""

from __future__ import annotations

from pathlib import Path

import pytest

from ota.core.keyring import RELEASE_NAMESPACE, SELECTION_NAMESPACE, Keyring
from ota.core.vouched import Vouched, Worth
from ota.signing.records import vouched
from tests.signing.rings import a_ring, make, signature

RECORD, OTHER = b'{"winner":"int8"}', b'{"winner":"float32"}'


@pytest.fixture
def rings(tmp_path: Path) -> list[Keyring]:
    """Return the keyring of ada and bob, and the one that follows it, in which cleo took ada's place."""
    first = a_ring(tmp_path, "ada", "bob")
    return [first, first.replaced("ada", make(tmp_path, "cleo"))]


def by(folder: Path, ring: Keyring, name: str, record: bytes = RECORD) -> tuple[str, str]:
    """Return a key's signature of a record, under its name."""
    return name, signature(folder, ring, name, SELECTION_NAMESPACE, record)


def test_a_key_in_force_vouches(rings: list[Keyring], tmp_path: Path) -> None:
    """One good signature is enough, beside one that is good no longer."""
    given = [by(tmp_path, rings[1], "bob"), by(tmp_path, rings[1], "cleo", OTHER)]
    found = vouched(RECORD, given, rings)
    assert found == Vouched(worth=Worth.SIGNED, keys=("bob",))
    assert found.sentence == "signed by bob"


def test_a_key_that_was_replaced_is_told(rings: list[Keyring], tmp_path: Path) -> None:
    """The record is what was signed, and nobody in force vouches for it."""
    found = vouched(RECORD, [by(tmp_path, rings[0], "ada")], rings)
    assert found.sentence == "signed by ada, in the newest keyring no longer"


@pytest.mark.parametrize("name", ["ada", "bob"])
def test_a_record_that_was_changed_is_told(rings: list[Keyring], tmp_path: Path, name: str) -> None:
    """A single other byte is another record, whoever signed it."""
    given = [by(tmp_path, rings[0], name)]
    found = vouched(RECORD.replace(b"8", b"9"), given, rings)
    assert found == Vouched(worth=Worth.CHANGED, keys=(name,))
    assert found.sentence == f"changed after it was signed by {name}"


def test_a_signature_for_another_purpose_is_none(rings: list[Keyring], tmp_path: Path) -> None:
    """What was signed as a release is no selection that was signed."""
    given = [("bob", signature(tmp_path, rings[0], "bob", RELEASE_NAMESPACE, RECORD))]
    assert vouched(RECORD, given, rings).worth is Worth.CHANGED


def test_a_stranger_counts_for_nothing(rings: list[Keyring], tmp_path: Path) -> None:
    """Nor does nobody."""
    stranger = a_ring(tmp_path / "stranger", "eve")
    given = [by(tmp_path / "stranger", stranger, "eve")]
    assert vouched(RECORD, given, rings) == vouched(RECORD, [], rings) == Vouched(worth=Worth.UNSIGNED)
