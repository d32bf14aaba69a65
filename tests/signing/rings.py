"""Keyrings whose private keys lie in a folder, and signatures by them: made anew for each test."""

from __future__ import annotations

from pathlib import Path

from ota.core.keyring import Keyring, ReleaseKey
from ota.signing import sshsig
from ota.signing.keys import generate, signer


def no_passphrase(name: str) -> str:
    """Answer for keys that have none."""
    raise AssertionError(f"the key {name} was asked for a passphrase")


def make(folder: Path, name: str, passphrase: str = "") -> ReleaseKey:
    """Make a key in `folder` and return its public half."""
    fresh = generate(name, passphrase)
    fresh.write(folder)
    return fresh.key


def a_ring(folder: Path, *names: str, version: int = 1, threshold: int = 1) -> Keyring:
    """Make a key for each name in `folder` and return their keyring."""
    return Keyring(version=version, threshold=threshold, keys=tuple(make(folder, name) for name in names))


def signature(folder: Path, ring: Keyring, name: str, namespace: str, content: bytes) -> str:
    """Return the armored signature by the key `name`."""
    return sshsig.sign(signer(ring.key(name), folder, no_passphrase), namespace, content)
