"""Keyrings: one canonical text, nothing unsound can exist, and each follows the one before by exactly one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ota.core.keyring import MOST_KEYS, MOST_VERSION, Keyring, ReleaseKey, may_follow


def key(number: int, name: str = "") -> ReleaseKey:
    """Return a key whose 32 bytes are all `number`."""
    return ReleaseKey.of_raw(name or f"key-{number}", bytes([number]) * 32)


RING = Keyring(version=3, threshold=2, keys=(key(1), key(2), key(3)))


def test_a_keyring_comes_back_from_its_text() -> None:
    """The text is canonical, whatever the order of the keys, and says the same keyring again."""
    text = RING.to_json()
    turned = replace(RING, keys=RING.keys[::-1])
    assert turned.to_json() == text
    assert Keyring.from_json(text) == RING
    assert text.startswith('{"format":1,"keys":[{"name":"key-1","public":"ssh-ed25519 AAAA')


def test_a_public_line_loses_its_comment() -> None:
    """A line of a public key file gives the key, whose fingerprint is OpenSSH's."""
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbL8WSVGhAOcKKVQbyEkCYQwvm8v9F9cO2nNKO8LHmy ann@desk\n"
    read = ReleaseKey.of_line("ann", line)
    assert read.public == " ".join(line.split()[:2])
    assert ReleaseKey.of_raw("ann", read.raw) == read
    assert len(read.blob) == 51
    assert read.fingerprint.startswith("SHA256:")


GOOD = key(1).public
PUBLICS = {
    "empty": "",
    "another type": GOOD.replace("ssh-ed25519", "ssh-rsa", 1),
    "no base64": "ssh-ed25519 AAA*",
    "cut": GOOD[:-4],
    "longer": GOOD + "AAAA",
    "a comment": GOOD + " me",
    "two spaces": GOOD.replace(" ", "  "),
    "a line more": GOOD + "\n",
    "another type within": GOOD.replace("C3NzaC1lZDI1NTE5", "C3NzaC1lZDI1NTE4"),
}


@pytest.mark.parametrize("public", PUBLICS.values(), ids=PUBLICS.keys())
def test_what_is_no_key_is_refused(public: str) -> None:
    """A public key is one canonical line of one type, of exactly 32 bytes."""
    with pytest.raises(ValueError, match=r"ssh-ed25519"):
        ReleaseKey(name="a", public=public)


@pytest.mark.parametrize(
    "name", ["", "-a", ".a", "a b", "a,b", "a*", "!a", "a/b", "a.pub", "a\n", "é", "a" * 65]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    """A name means itself in a list of allowed signers and in a folder: no pattern, no separator, no path."""
    with pytest.raises(ValueError, match="not a name for a key"):
        ReleaseKey(name=name, public=GOOD)


UNSOUND: dict[str, tuple[dict[str, Any], str]] = {
    "no keys": ({"keys": ()}, "cannot meet"),
    "threshold 0": ({"threshold": 0}, "cannot meet"),
    "threshold above": ({"threshold": 4}, "cannot meet"),
    "threshold true": ({"threshold": True}, "cannot meet"),
    "version 0": ({"version": 0}, "version"),
    "version beyond": ({"version": MOST_VERSION + 1}, "version"),
    "a name twice": ({"keys": (key(1), key(2), key(3, "key-1"))}, "the name key-1 is in the keyring twice"),
    "a key twice": ({"keys": (key(1), key(2), key(1, "other"))}, "the key ssh-ed25519 .* is in the keyring twice"),
    "too many": ({"keys": tuple(key(n) for n in range(MOST_KEYS + 1))}, "at most"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), UNSOUND.values(), ids=UNSOUND.keys())
def test_an_unsound_keyring_cannot_be(change: dict[str, Any], said: str) -> None:
    """Each rule of a keyring is kept by the type itself."""
    with pytest.raises(ValueError, match=said):
        replace(RING, **change)


PLAIN: dict[str, Any] = json.loads(RING.to_json())
TEXTS = {
    "empty": "",
    "no JSON": "{",
    "deep": "[" * 10_000,
    "a list": "[]",
    "too long": RING.to_json() + " " * 20_000,
    "spaces": json.dumps(PLAIN, sort_keys=True),
    "a member twice": RING.to_json().replace('"version":3', '"version":2,"version":3'),
    "a member more": json.dumps({**PLAIN, "x": 1}, sort_keys=True, separators=(",", ":")),
    "a member less": json.dumps(
        {k: v for k, v in PLAIN.items() if k != "version"}, sort_keys=True, separators=(",", ":")
    ),
    "another format": RING.to_json().replace('"format":1', '"format":2'),
    "keys no list": json.dumps({**PLAIN, "keys": {}}, sort_keys=True, separators=(",", ":")),
    "a key that is a text": json.dumps({**PLAIN, "keys": ["x"]}, sort_keys=True, separators=(",", ":")),
    "a name that is a number": RING.to_json().replace('"key-1"', "1"),
    "version 3.0": RING.to_json().replace('"version":3', '"version":3.0'),
    "keys out of order": json.dumps(
        {**PLAIN, "keys": PLAIN["keys"][::-1]}, sort_keys=True, separators=(",", ":")
    ),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_another_text_is_refused(text: str) -> None:
    """Only the canonical text of a sound keyring is read; all else is a ValueError."""
    with pytest.raises(ValueError, match=r"keyring|version|key"):
        Keyring.from_json(text)


def test_only_the_next_version_may_follow() -> None:
    """Not the same, none skipped, none earlier."""
    assert [v for v in range(1, 9) if may_follow(RING, replace(RING, version=v))] == [4]


def test_a_key_is_replaced_and_removed() -> None:
    """Both give the next version; fewer keys than the threshold, an unknown name and a key that is there already are refused."""
    after = RING.replaced("key-2", key(9, "new"))
    assert (after.version, [k.name for k in after.keys]) == (4, ["key-1", "new", "key-3"])
    less = RING.without("key-1")
    assert (less.version, [k.name for k in less.keys]) == (4, ["key-2", "key-3"])
    with pytest.raises(ValueError, match="cannot meet a threshold of 2"):
        less.without("key-2")
    with pytest.raises(ValueError, match="no key is called 'x'; there are: key-1, key-2, key-3"):
        RING.without("x")
    with pytest.raises(ValueError, match="twice"):
        RING.replaced("key-2", key(9, "key-1"))
