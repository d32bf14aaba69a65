"""What limits a controller's key to the agent on a device: in which folders, to which commands, by which line."""

from __future__ import annotations

import base64
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One ota_root that the key may work in, as the controller names it, and the shell commands that it may run there."""

    root: str
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """The line of a key in its `file` on the device, and that of sudoers, empty where sudo has no part.

    `loose` is a path that others than root may change although the sudoers line trusts it, empty where none is; `others` counts the keys of the file without a
    forced command, `replaced` are commands that were somebody else's.
    """

    file: str
    line: str
    sudoers: str
    loose: str
    others: int
    replaced: tuple[str, ...]
    changed: bool


def public_key_of(line: str) -> str:
    """Return kind and base64 of a public key as OpenSSH writes it; ValueError says what is there instead."""
    words = line.split()
    if "PRIVATE KEY" in line:
        raise ValueError("a private key; its public half is the file beside it that ends in .pub")
    if len(words) < 2 or not words[0].startswith(("ssh-", "ecdsa-", "sk-")):
        raise ValueError("no line of kind and key")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except ValueError:
        raise ValueError("a key that is not base64") from None
    if not blob[4:].startswith(words[0].encode()):
        raise ValueError(f"a key that is no {words[0]}")
    return f"{words[0]} {words[1]}"
