"""Who may sign: the release keys of a project, the keyring that lists them, and how one keyring follows another.

Invariants: a `Keyring` that exists is sound: unique names, unique keys, a threshold that its keys can meet; equal keyrings have equal text; a
keyring is read only from its canonical text, so that what was signed is what is meant.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

RELEASE_NAMESPACE = "ota-release"
"""What a manifest is signed for."""
KEYRING_NAMESPACE = "ota-keyring"
"""What the next keyring is signed for."""
ORDER_NAMESPACE = "ota-order"
"""What one order of a session is signed for."""
SELECTION_NAMESPACE = "ota-selection"
"""What the record of a selection is signed for."""

KEY_TYPE = "ssh-ed25519"
FORMAT = 1
MOST_KEYS = 32
MOST_KEYRING_CHARS = 16 * 1024
MOST_VERSION = 2**31 - 1

_RAW_BYTES = 32
_HEAD = len(KEY_TYPE).to_bytes(4, "big") + KEY_TYPE.encode() + _RAW_BYTES.to_bytes(4, "big")
# No `.pub` at the end: a private key lies in a file of this name, its public half in name.pub.
_NAME = re.compile(r"(?!.*\.pub\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseKey:
    """A public Ed25519 key under the name that signatures are bound to (the principal); ValueError where either is none.

    `public` is OpenSSH's line without a comment: `ssh-ed25519 AAAA...`.
    """

    name: str
    public: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"not a name for a key: {self.name!r:.80}; letters, digits, '.', '_' and '-', at most 64, not ending in .pub"
            )
        raw_of(self.public)

    @classmethod
    def of_line(cls, name: str, line: str) -> ReleaseKey:
        """Return the key in a line of a public key file, whose comment is dropped; ValueError where it is none."""
        return cls(name=name, public=" ".join(line.split()[:2]))

    @classmethod
    def of_raw(cls, name: str, raw: bytes) -> ReleaseKey:
        """Return the key of 32 raw bytes (RFC 8032)."""
        return cls(name=name, public=f"{KEY_TYPE} {base64.b64encode(_HEAD + raw).decode()}")

    @property
    def raw(self) -> bytes:
        """The key's 32 bytes (RFC 8032)."""
        return raw_of(self.public)

    @property
    def blob(self) -> bytes:
        """The key as SSH sends it (RFC 8709)."""
        return _HEAD + self.raw

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and the digest in base64, as `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(sha256(self.blob).digest()).decode().rstrip("=")


def raw_of(public: str) -> bytes:
    """Return the 32 bytes of an OpenSSH line without a comment; ValueError where it is no canonical Ed25519 key."""
    kind, _, text = public.partition(" ")
    if kind != KEY_TYPE:
        raise ValueError(f"not a key of the type {KEY_TYPE}: {kind!r:.40}")
    try:
        blob = base64.b64decode(text, validate=True)
    except ValueError:
        blob = b""
    raw = blob[len(_HEAD) :]
    if not blob.startswith(_HEAD) or len(raw) != _RAW_BYTES or base64.b64encode(blob).decode() != text:
        raise ValueError(f"not an {KEY_TYPE} key of {_RAW_BYTES} bytes in base64: {text!r:.40}")
    return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The release keys in force and how many of them must sign; ValueError where it is not sound. Versions count from 1."""

    version: int
    threshold: int
    keys: tuple[ReleaseKey, ...]

    def __post_init__(self) -> None:
        if type(self.version) is not int or not 1 <= self.version <= MOST_VERSION:
            raise ValueError(f"not a keyring's version: {self.version!r:.40}")
        if len(self.keys) > MOST_KEYS:
            raise ValueError(f"a keyring holds at most {MOST_KEYS} keys, not {len(self.keys)}")
        if type(self.threshold) is not int or not 1 <= self.threshold <= len(self.keys):
            raise ValueError(f"{len(self.keys)} keys cannot meet a threshold of {self.threshold!r:.40}")
        for what, values in (("name", [k.name for k in self.keys]), ("key", [k.public for k in self.keys])):
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"the {what} {twice} is in the keyring twice")

    @classmethod
    def from_json(cls, text: str) -> Keyring:
        """Return the keyring that a canonical text says; ValueError where it is too long, not canonical or not sound."""
        if len(text) > MOST_KEYRING_CHARS:
            raise ValueError(f"a keyring has at most {MOST_KEYRING_CHARS} characters")
        plain = _loaded(text)
        if not isinstance(plain, dict) or set(plain) != {"format", "version", "threshold", "keys"}:
            raise ValueError("not a keyring: expected format, version, threshold and keys")
        if plain["format"] != FORMAT or not isinstance(plain["keys"], list):
            raise ValueError(f"not a keyring of format {FORMAT}")
        keyring = cls(
            version=plain["version"],
            threshold=plain["threshold"],
            keys=tuple(_key_of(entry) for entry in plain["keys"]),
        )
        if keyring.to_json() != text:
            raise ValueError("a keyring's text is not in its canonical form")
        return keyring

    def to_json(self) -> str:
        """Return the canonical text, which is what is signed: members sorted, keys by name, no spaces."""
        keys = sorted(self.keys, key=lambda key: key.name)
        content = {
            "format": FORMAT,
            "version": self.version,
            "threshold": self.threshold,
            "keys": [{"name": key.name, "public": key.public} for key in keys],
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    def key(self, name: str) -> ReleaseKey:
        """Return the key of that name; ValueError where there is none."""
        for key in self.keys:
            if key.name == name:
                return key
        raise ValueError(
            f"no key is called {name!r:.80}; there are: {', '.join(sorted(k.name for k in self.keys))}"
        )

    def replaced(self, name: str, new: ReleaseKey) -> Keyring:
        """Return the next keyring, in which `new` stands for the key `name`; ValueError where that is not sound."""
        old = self.key(name)
        keys = tuple(new if key == old else key for key in self.keys)
        return replace(self, version=self.version + 1, keys=keys)

    def extended(self, new: ReleaseKey, threshold: int | None = None) -> Keyring:
        """Return the next keyring, with the key `new` and, where given, another threshold; ValueError where that is not sound."""
        needed = self.threshold if threshold is None else threshold
        return Keyring(version=self.version + 1, threshold=needed, keys=(*self.keys, new))

    def without(self, name: str) -> Keyring:
        """Return the next keyring, without the key `name`; ValueError where fewer than the threshold would be left."""
        old = self.key(name)
        keys = tuple(key for key in self.keys if key != old)
        return replace(self, version=self.version + 1, keys=keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedKeyring:
    """A keyring with the signatures that let it follow the one before: (name of a key there, armored signature), none for the first."""

    keyring: Keyring
    signatures: tuple[tuple[str, str], ...]


def may_follow(old: Keyring, new: Keyring) -> bool:
    """Say whether a device that holds `old` may take `new`, the signatures aside: the very next version, as TUF's root (section 5.3)."""
    return new.version == old.version + 1


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("not a keyring: no JSON") from error


def _key_of(entry: Any) -> ReleaseKey:
    match entry:
        case {"name": str(name), "public": str(public), **others} if not others:
            return ReleaseKey(name=name, public=public)
    raise ValueError("not a key of a keyring: expected name and public, both texts")
