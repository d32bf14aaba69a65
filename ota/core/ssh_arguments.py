"""The arguments for ssh that an inventory may carry, read as OpenSSH reads them; what cannot be honoured is an error.

Rules: the first value of an option counts, identity files add up, option names ignore case. Options that only concern what `ota` does not
have (multiplexing, terminals, X11) are accepted; every other option must be in HONOURED.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

HONOURED = (
    "Compression", "ConnectTimeout", "ConnectionAttempts", "HostKeyAlias", "HostName", "IdentitiesOnly", "IdentityFile", "Port",
    "ProxyCommand", "ProxyJump", "ServerAliveInterval", "StrictHostKeyChecking", "User", "UserKnownHostsFile",
)  # fmt: skip
WITHOUT_EFFECT = (
    "BatchMode", "CheckHostIP", "ControlMaster", "ControlPath", "ControlPersist", "HashKnownHosts", "LogLevel", "RequestTTY",
    "ServerAliveCountMax", "TCPKeepAlive", "UpdateHostKeys", "VisualHostKey",
)  # fmt: skip
ONLY_OFF = ("ForwardAgent", "ForwardX11", "ForwardX11Trusted", "GSSAPIAuthentication")

_FLAG_OPTIONS = {"C": ("compression", "yes")}
_VALUE_OPTIONS = {"F": "config", "J": "proxyjump", "i": "identityfile", "l": "user", "p": "port"}
_FLAGS_WITHOUT_EFFECT = frozenset("aqTtvx")
_SPELLING = {name.lower(): name for name in (*HONOURED, *WITHOUT_EFFECT, *ONLY_OFF)}


class ArgumentError(ValueError):
    """An argument for ssh is malformed or not honoured; `hint` says what to do about it."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOption:
    """One option in lower case (`config` for -F) with its value as written."""

    name: str
    value: str


def read_arguments(text: str) -> tuple[SshOption, ...]:
    """Return the options that arguments such as `-J bastion -o ConnectTimeout=5` set, in order, those without effect left out.

    Raises:
        ArgumentError: an argument is malformed or not honoured.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ArgumentError(f"the quotes in {text!r} do not match") from error
    return tuple(_read(words))


def _read(words: Sequence[str]) -> Iterator[SshOption]:
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not re.fullmatch(r"-[A-Za-z0-9].*", word, re.DOTALL):
            raise ArgumentError(
                f"{word!r} is not an option of ssh", "the host and command are not written here"
            )
        letter, rest = word[1], word[2:]
        if letter == "o" or letter in _VALUE_OPTIONS:
            if not rest and not waiting:
                raise ArgumentError(f"the option {word} has no value")
            value = rest or waiting.pop(0)
            yield from (
                _assignment(value)
                if letter == "o"
                else (SshOption(name=_VALUE_OPTIONS[letter], value=value),)
            )
            continue
        if letter in _FLAG_OPTIONS:
            name, setting = _FLAG_OPTIONS[letter]
            yield SshOption(name=name, value=setting)
        elif letter not in _FLAGS_WITHOUT_EFFECT:
            raise ArgumentError(
                f"the option -{letter} of ssh is not honoured", "remove it, or set it in a file named with -F"
            )
        if rest:
            waiting.insert(0, f"-{rest}")


def _assignment(text: str) -> Iterator[SshOption]:
    found = re.fullmatch(r"\s*(\w+)(?:\s*=\s*|\s+)(.+)", text, re.DOTALL)
    if not found:
        raise ArgumentError(f"-o {text!r} sets nothing", "write it as -o Name=value")
    name, value = found[1].lower(), found[2].strip()
    spelling = _SPELLING.get(name)
    if spelling is None:
        guess = get_close_matches(name, _SPELLING, n=1)
        hint = f"did you mean {_SPELLING[guess[0]]}?" if guess else f"honoured are {', '.join(HONOURED)}"
        raise ArgumentError(f"the option {found[1]} of ssh is not honoured", hint)
    if spelling in ONLY_OFF and value.lower() != "no":
        raise ArgumentError(f"the option {spelling}={value} of ssh is not honoured", "only `no` is")
    if spelling in HONOURED:
        # The quotes of a list of files part its words: they go when the list is read.
        yield SshOption(name=name, value=value if spelling == "UserKnownHostsFile" else _unquoted(value))


def _unquoted(value: str) -> str:
    """Return a value without the one pair of double quotes around it."""
    inner = value[1:-1]
    return inner if len(value) > 1 and value[0] == value[-1] == '"' and '"' not in inner else value
