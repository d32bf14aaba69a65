"""The line of `authorized_keys` that limits a key to the agent, and the line of sudoers that limits the sign-in user to it.

Invariants: every line with that key becomes a restricted one, for sshd takes the first that fits; of its options only those stay that limit it further; every
other line stays byte for byte, and so do the file's permissions and owner.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import List, NamedTuple, Optional, Sequence

from .dialogue import RefusedError

_KIND = rb"(?:sk-)?(?:ssh|ecdsa)-[A-Za-z0-9@.-]+"
_KEY = re.compile(rb"(" + _KIND + rb")[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t]+(.*))?\Z", re.DOTALL)
_QUOTED = rb'"(?:\\"|\\(?!")|[^"\\])*"'
_OPTION = re.compile(rb"(?:" + _QUOTED + rb'|[^",])+')
_OPTIONS = re.compile(rb"((?:" + _QUOTED + rb'|[^" \t])+)[ \t]+(.*)\Z', re.DOTALL)
_KEPT = ("from", "expiry-time", "verify-required", "no-touch-required")
"""Options that limit a key further; `restrict` takes all others away."""


class Entry(NamedTuple):
    """One line with a key."""

    options: List[bytes]
    key: bytes
    comment: bytes

    def command(self) -> Optional[bytes]:
        """Return the forced command as it is written, None where there is none."""
        return next((one.partition(b"=")[2] for one in self.options if _name(one) == "command"), None)


class Planned(NamedTuple):
    """What a file is to become; `found` says whether the key was there, `others` how many keys have no forced command, `replaced` which commands of somebody else's went."""

    content: bytes
    line: str
    found: bool
    others: int
    replaced: List[str]


def entry_of(line: bytes) -> Optional[Entry]:
    """Return the key that a line lets in; None for a comment, an authority's key or what sshd does not read either."""
    text = line.strip(b" \t\r")
    found, options = _KEY.match(text), b""
    if found is None:
        parts = _OPTIONS.match(text)
        if parts is None or text.startswith(b"#"):
            return None
        options, found = parts.group(1), _KEY.match(parts.group(2))
    entry = found and Entry(
        _OPTION.findall(options), found.group(1) + b" " + found.group(2), found.group(3) or b""
    )
    return None if not entry or "cert-authority" in map(_name, entry.options) else entry


def plan(content: bytes, key: str, command: str) -> Planned:
    """Return a file in which `key` (kind and base64) runs `command` alone; a key that is not there is added."""
    wanted, lines = key.encode("ascii"), content.split(b"\n")
    forced = b'restrict,command="%s"' % command.encode("utf-8").replace(b'"', b'\\"')
    shown, others, replaced = b"", 0, []
    for number, line in enumerate(lines):
        entry = entry_of(line)
        if entry is None:
            continue
        if entry.key != wanted:
            others += entry.command() is None
            continue
        kept = [one for one in entry.options if _name(one) in _KEPT]
        shown = b",".join([*kept, forced]) + b" " + wanted + (b" " + entry.comment if entry.comment else b"")
        before = entry.command()
        if before is not None and b".pyz door " not in before:
            replaced.append(before.decode("utf-8", "replace"))
        lines[number] = shown + (b"\r" if line.endswith(b"\r") else b"")
    found = bool(shown)
    if not found:
        shown = forced + b" " + wanted + b" ota"
        last = lines.pop()
        lines += [last, shown, b""] if last else [shown, b""]
    return Planned(b"\n".join(lines), shown.decode("utf-8", "replace"), found, others, replaced)


def command_of(python: str, program: str, policy_path: str, become: Optional[str]) -> str:
    """Return the forced command, as the sign-in user's shell reads it: the door in `program`, started as the user that the agent works as."""
    words = [python, "-I", program, "door", policy_path]
    for word in words:
        if any(ord(letter) < 32 for letter in word):
            raise RefusedError("bad_request", "a control character in %r" % word)
    if become is None:
        return _quoted(words)
    # sudo does not pass the variable on: the wish goes as one word, which the shell does not look into.
    return _quoted(["sudo", "-n", "-H", "-u", become, "--", *words]) + ' "$SSH_ORIGINAL_COMMAND"'


def sudoers_line(user: str, python: str, program: str, policy_path: str, become: str) -> str:
    """Return the line that lets `user` start the door as `become`, and nothing else; what stands for `*` is the wish, which the door takes apart."""
    # A double quote cannot be written there: what stands for any letter stands for it.
    words = [
        re.sub(r"([\\ ,:=*?!\[\]#])", r"\\\1", word).replace('"', "?")
        for word in (python, program, policy_path)
    ]
    return "%s ALL=(%s) NOPASSWD: %s -I %s door %s *" % (user, become, *words)


def loose(path: str) -> Optional[str]:
    """Return what of a path, or of the folders above it, somebody other than root may change; None where nothing is."""
    while True:
        there = os.stat(path)
        if there.st_uid != 0 or there.st_mode & 0o022:
            return path
        if path == os.path.dirname(path):
            return None
        path = os.path.dirname(path)


def _quoted(words: Sequence[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)


def _name(option: bytes) -> str:
    return option.partition(b"=")[0].decode("ascii", "replace").lower()
