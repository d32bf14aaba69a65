"""The project's keyrings: kept in order, never changed, damage told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ota.core.keyring import Keyring, ReleaseKey, SignedKeyring
from ota.errors import ContentError, UsageError
from ota.store.keyrings import Keyrings

FIRST = SignedKeyring(
    keyring=Keyring(
        version=1,
        threshold=1,
        keys=(ReleaseKey.of_raw("ann", b"\1" * 32), ReleaseKey.of_raw("bob", b"\2" * 32)),
    ),
    signatures=(),
)
SECOND = SignedKeyring(
    keyring=FIRST.keyring.without("bob"), signatures=(("ann", "armored\ntext\n"), ("bob", "x"))
)
THIRD = SignedKeyring(
    keyring=SECOND.keyring.replaced("ann", ReleaseKey.of_raw("eve", b"\3" * 32)), signatures=(("ann", "y"),)
)


def test_keyrings_come_back_in_order(tmp_path: Path) -> None:
    """Each keyring is kept with its signatures; a device that has one is given those that follow it."""
    keyrings = Keyrings(tmp_path / "keyrings")
    assert keyrings.newest() is None
    assert keyrings.after(0) == ()
    for signed in (FIRST, SECOND, THIRD):
        keyrings.put(signed)
        assert keyrings.newest() == signed
    assert Keyrings(tmp_path / "keyrings").after(0) == (FIRST, SECOND, THIRD)
    assert keyrings.after(1) == (SECOND, THIRD)
    assert keyrings.after(3) == ()
    assert sorted(os.listdir(tmp_path / "keyrings")) == [  # noqa: PTH208 - names are meant
        f"{n}{end}" for n in (1, 2, 3) for end in (".json", ".signatures.json")
    ]


def test_only_the_next_is_taken(tmp_path: Path) -> None:
    """A version that is there, or skips one, is refused, and nothing is changed or left over."""
    keyrings = Keyrings(tmp_path)
    keyrings.put(FIRST)
    for wrong in (replace(FIRST, keyring=replace(FIRST.keyring, threshold=2)), THIRD):
        with pytest.raises(UsageError, match="a keyring does not follow the newest one"):
            keyrings.put(wrong)
    assert keyrings.after(0) == (FIRST,)
    assert len(list(tmp_path.iterdir())) == 2


def test_signatures_of_a_put_that_was_cut_short_are_written_anew(tmp_path: Path) -> None:
    """Signatures without their keyring count for nothing and are replaced by the next put."""
    (tmp_path / "1.signatures.json").write_text('{"old":')
    keyrings = Keyrings(tmp_path)
    assert keyrings.newest() is None
    keyrings.put(FIRST)
    assert keyrings.newest() == FIRST


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    """A file in the folder's place is a usage error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="a keyring cannot be written"):
        Keyrings(tmp_path / "file" / "keyrings").put(FIRST)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "torn": (lambda f: (f / "2.json").write_text("{"), "no JSON"),
    "another version": (
        lambda f: (f / "2.json").write_text((f / "1.json").read_text()),
        "it says that it is keyring 1",
    ),
    "changed": (
        lambda f: (f / "2.json").write_text((f / "2.json").read_text() + "\n"),
        "not in its canonical form",
    ),
    "no signatures": (lambda f: (f / "2.signatures.json").unlink(), "2.signatures.json"),
    "signatures of another shape": (lambda f: (f / "2.signatures.json").write_text("[]"), "by name"),
    "one missing": (
        lambda f: (f / "1.json").unlink(),
        "expected keyrings 1 to 2, found 2",
    ),
    "a strange one": (lambda f: (f / "02.json").write_text("{}"), "found 1, 2, 02"),
}


@pytest.mark.parametrize(("spoil", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_told(spoil: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    """What was changed by hand or lost is an error that says where, and never another keyring."""
    keyrings = Keyrings(tmp_path)
    for signed in (FIRST, SECOND):
        keyrings.put(signed)
    spoil(tmp_path)
    with pytest.raises(ContentError, match="the keyrings are damaged") as caught:
        keyrings.newest()
    assert said in caught.value.render()
