"""Whose keys are known: the rules of OpenSSH's known_hosts files, fingerprints, and recording new keys.

Invariants: a host with recorded keys that shows another one has changed, whatever the kind of key; a changed or revoked key is
never replaced here, only `ssh-keygen -R` removes one; a file is replaced whole or not at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from ota import durable
from ota.errors import HostKeyError, MissingFileError

SSH_PORT = 22
USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
SYSTEM_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")

RSA_ALGORITHMS = ("rsa-sha2-512", "rsa-sha2-256")
"""What an RSA key signs with today; its kind is still called ssh-rsa."""

_NAMES = {"ssh-ed25519": "ED25519", "ssh-rsa": "RSA", "ssh-dss": "DSA"}


class PublicKey(Protocol):
    """A key as the SSH library has it."""

    def get_name(self) -> str:
        """Return its kind."""
        ...

    def asbytes(self) -> bytes:
        """Return its bytes as SSH sends them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """A public host key: its kind, such as `ssh-ed25519`, and its bytes as SSH sends them."""

    kind: str
    blob: bytes

    @classmethod
    def of(cls, key: PublicKey) -> HostKey:
        """Return what the SSH library's key is."""
        return cls(kind=key.get_name(), blob=key.asbytes())

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and the digest in base64, as `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def title(self) -> str:
        """The short name of the kind, such as ED25519 or ECDSA."""
        return _NAMES.get(self.kind, "ECDSA" if self.kind.startswith("ecdsa") else self.kind)

    @property
    def text(self) -> str:
        """The kind and the key in base64, as in a known_hosts line."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a known_hosts file; `line` counts from 1."""

    patterns: tuple[str, ...]
    key: HostKey
    revoked: bool
    file: Path
    line: int

    def names(self, name: str) -> bool:
        """Say whether this line is about `name`."""
        matched = False
        for pattern in self.patterns:
            bare = pattern.removeprefix("!")
            if _matches(bare, name):
                if bare != pattern:
                    return False
                matched = True
        return matched


class Standing(Enum):
    """What the known_hosts files say of a key that a host shows."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHosts:
    """The entries of known_hosts files, in their order."""

    entries: tuple[Entry, ...]

    def of(self, name: str) -> tuple[Entry, ...]:
        """Return the entries about `name`, as `known_name` writes it, whose keys are good."""
        return tuple(entry for entry in self.entries if not entry.revoked and entry.names(name))

    def standing(self, name: str, key: HostKey) -> Standing:
        """Say what is known of `key` for `name`; a key that is recorded for the host without its port is known too, as in OpenSSH."""
        if any(entry.revoked and entry.key == key and entry.names(name) for entry in self.entries):
            return Standing.REVOKED
        recorded = self.of(name)
        if any(entry.key == key for entry in recorded):
            return Standing.KNOWN
        if recorded:
            return Standing.CHANGED
        if any(entry.key == key for entry in self.of(_without_port(name))):
            return Standing.KNOWN
        return Standing.UNKNOWN

    def algorithms(self, name: str) -> tuple[str, ...]:
        """Return the algorithms of the keys recorded for `name`, in order, each once: what to ask the host for first."""
        recorded = self.of(name) or self.of(_without_port(name))
        kinds = dict.fromkeys(entry.key.kind for entry in recorded)
        return tuple(name for kind in kinds for name in (RSA_ALGORITHMS if kind == "ssh-rsa" else (kind,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The keys that a machine shows: the target, or a jump host on the way to it (`hop`).

    `name` is what known_hosts files call it, `files` are those that count; the first is the one to record into.
    """

    name: str
    address: str
    keys: tuple[HostKey, ...]
    hop: bool
    files: tuple[Path, ...]

    @property
    def unknown(self) -> tuple[HostKey, ...]:
        """The keys that are not recorded."""
        known = read_known_hosts(self.files)
        return tuple(key for key in self.keys if known.standing(self.name, key) is not Standing.KNOWN)

    def record(self, *, hashed: bool = False) -> tuple[HostKey, ...]:
        """Record the keys after a person's yes; see `record`."""
        return record(self.files[0], self.name, self.keys, hashed=hashed)


def known_name(address: str, port: int, alias: str | None = None) -> str:
    """Return how known_hosts files call a host: `host`, `[host]:port` unless the port is 22, or the alias."""
    if alias:
        return alias
    return address.lower() if port == SSH_PORT else f"[{address.lower()}]:{port}"


def files_of(named: Sequence[str] | None) -> tuple[Path, ...]:
    """Return the known_hosts files that count: those named, else the user's own, and always the system's; `none` names no file."""
    chosen = USER_FILES if named is None else tuple(name for name in named if name != "none")
    return tuple(Path(name).expanduser() for name in (*chosen, *SYSTEM_FILES))


def read_known_hosts(files: Iterable[Path]) -> KnownHosts:
    """Read known_hosts files; one that is absent holds nothing, and a line that cannot be read is passed over, as OpenSSH does.

    Raises:
        MissingFileError: a file is there and cannot be read.
    """
    entries: list[Entry] = []
    for file in files:
        try:
            found = file.stat()
            entries += _entries(file, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise MissingFileError(
                f"the known_hosts file cannot be read: {error.strerror}", where=str(file)
            ) from error
    return KnownHosts(entries=tuple(entries))


@lru_cache(maxsize=16)
def _entries(file: Path, _as_it_is: tuple[int, int, int, int]) -> tuple[Entry, ...]:
    """Return the entries of a file, read once for all the hosts of a fleet as long as it stays as it is."""
    lines = file.read_text("utf-8", "surrogateescape").splitlines()
    found = (_entry(line, file, number) for number, line in enumerate(lines, 1))
    return tuple(entry for entry in found if entry is not None)


def refusal(host: str, name: str, key: HostKey, known: KnownHosts, *, hop: bool = False) -> HostKeyError:
    """Return why a host that shows `key` is not spoken to, with the command that would change that."""
    who = f"the jump host {name}" if hop else "the host"
    standing = known.standing(name, key)
    if standing is Standing.UNKNOWN:
        return HostKeyError(
            f"{who} shows an {key.title} key that is not known, {key.fingerprint}",
            where=host,
            hint=f"compare the fingerprint with the device's own, then: ota trust {host}",
        )
    if standing is Standing.REVOKED:
        return HostKeyError(
            f"{who} shows an {key.title} key that a known_hosts file revokes, {key.fingerprint}",
            where=host,
            hint="do not use this host before it has a new key",
        )
    recorded = known.of(name)[0]
    kept = next((entry for entry in known.of(name) if entry.key.kind == key.kind), recorded)
    return HostKeyError(
        f"{who} shows a key that is not the recorded one; it was installed anew, or something else answers in its place",
        where=host,
        expected=f"{kept.key.title} {kept.key.fingerprint} ({kept.file}:{kept.line})",
        found=f"{key.title} {key.fingerprint}",
        hint=f"where the change is explained: ssh-keygen -f '{kept.file}' -R '{name}', then: ota trust {host}",
    )


def record(file: Path, name: str, keys: Sequence[HostKey], *, hashed: bool = False) -> tuple[HostKey, ...]:
    """Add `keys` for `name` to a known_hosts file and return those that were new; the file is replaced by one rename.

    `hashed` keeps the name itself out of the file, as `HashKnownHosts yes` does.

    Raises:
        HostKeyError: the file records other keys for that name already, or revokes one of these.
        MissingFileError: the file cannot be written.
    """
    target = Path(os.path.realpath(file.expanduser()))
    known = read_known_hosts((target,))
    if known.of(name) and not any(known.standing(name, key) is Standing.KNOWN for key in keys):
        raise refusal(name, name, keys[0], known)
    for key in keys:
        if known.standing(name, key) is Standing.REVOKED:
            raise refusal(name, name, key, known)
    recorded = {entry.key for entry in known.of(name)}
    new = tuple(key for key in keys if key not in recorded)
    if new:
        try:
            _append(target, [f"{_hashed(name) if hashed else name} {key.text}\n" for key in new])
        except OSError as error:
            raise MissingFileError(
                f"the known_hosts file cannot be written: {error.strerror}", where=str(target)
            ) from error
    return new


def _append(file: Path, lines: Sequence[str]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = file.read_bytes() if file.exists() else b""
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    if before and not before.endswith(b"\n"):
        before += b"\n"
    durable.write(file, before + "".join(lines).encode(), mode=mode, replace=True)


def _entry(line: str, file: Path, number: int) -> Entry | None:
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#") or marker not in {"", "@revoked"}:
        return None
    try:
        blob = base64.b64decode(words[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Entry(
        patterns=tuple(words[0].split(",")),
        key=HostKey(kind=words[1], blob=blob),
        revoked=bool(marker),
        file=file,
        line=number,
    )


def _matches(pattern: str, name: str) -> bool:
    if not pattern.startswith("|1|"):
        if "*" not in pattern and "?" not in pattern:
            return name.lower() == pattern.lower()
        # OpenSSH knows * and ? only: a bracket is a bracket, as in [host]:port.
        return fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in pattern[3:].split("|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


def _hashed(name: str) -> str:
    salt = secrets.token_bytes(20)
    parts = (salt, hmac.digest(salt, name.encode(), "sha1"))
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in parts)


def _without_port(name: str) -> str:
    host, bracket, _ = name.partition("]:")
    return host[1:] if bracket and host.startswith("[") else name
