"""What a host's `ansible_ssh_*_args` set, merged with its variables in the order of the command line that Ansible builds.

Rules: `ansible_ssh_args` stands before the variables, `ansible_ssh_common_args` and `ansible_ssh_extra_args` behind them; the first value of
an option counts, identity files add up.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TypeVar

from ota.core.host_variables import HostVariables
from ota.core.ssh_arguments import ArgumentError, SshOption, read_arguments

FIRST = ("ansible_ssh_args",)
LAST = ("ansible_ssh_common_args", "ansible_ssh_extra_args")

_T = TypeVar("_T")


class SshOptions:
    """The options of one host; a value that cannot be read becomes a fault of the variable it stands in."""

    def __init__(self, variables: HostVariables) -> None:
        self._variables = variables
        self._first = self._read(FIRST)
        self._last = self._read(LAST)

    def text(self, name: str, variable: str | None) -> str | None:
        """Return the option `name` where `variable` is what the host's variables say of the same thing."""
        found = self._find(name)
        if variable is not None and (found is None or found[0] not in FIRST):
            return variable
        return found[1] if found else None

    def parsed(self, name: str, parse: Callable[[str], _T], variable: _T | None) -> _T | None:
        """Return the option as `parse` reads it, as `text` does."""
        found = self._find(name)
        if found is None or (variable is not None and found[0] not in FIRST):
            return variable
        try:
            return parse(found[1])
        except ValueError as error:
            self._variables.fault(found[0], f"sets {name} to {found[1]!r}, which must be {error}")
            return None

    def flag(self, name: str) -> bool:
        """Return a yes or no, no where it is not set."""
        return self.parsed(name, _yes_or_no, None) or False

    def unless_none(self, name: str) -> str | None:
        """Return the option, None where it is the word `none`."""
        value = self.text(name, None)
        return None if value is None or value.lower() == "none" else value

    def identity_files(self, variable: str | None) -> tuple[str, ...]:
        """Return all identity files, in the order in which ssh tries them."""
        files = [option.value for _, option in self._first if option.name == "identityfile"]
        files += [variable] if variable else []
        files += [option.value for _, option in self._last if option.name == "identityfile"]
        return tuple(dict.fromkeys(name for name in files if name.lower() != "none"))

    def known_hosts_files(self) -> tuple[str, ...] | None:
        """Return the files of known hosts; None where ssh's own are meant, also in place of /dev/null, which keeps no key."""
        value = self.text("userknownhostsfile", None)
        files = self._words("userknownhostsfile", value) if value else ()
        return tuple(name for name in files if name not in {"/dev/null", "none"}) or None

    def checks_host_keys(self) -> bool:
        """Say whether host keys are to be checked; `accept-new` and `ask` count as checking, since no key is taken unasked."""
        return self.parsed("stricthostkeychecking", _checking, None) is not False

    def retries(self) -> int:
        """Return how many further attempts ConnectionAttempts grants."""
        return max(0, int(self.parsed("connectionattempts", positive_number, None) or 1) - 1)

    def _words(self, name: str, value: str) -> tuple[str, ...]:
        try:
            return tuple(shlex.split(value))
        except ValueError:
            self._variables.fault((self._find(name) or LAST)[0], f"sets {name} with quotes that do not match")
            return ()

    def _find(self, name: str) -> tuple[str, str] | None:
        """Return the variable and the value of the first setting of an option."""
        return next(
            ((at, option.value) for at, option in self._first + self._last if option.name == name), None
        )

    def _read(self, names: tuple[str, ...]) -> tuple[tuple[str, SshOption], ...]:
        found: list[tuple[str, SshOption]] = []
        for name in names:
            try:
                found += [(name, option) for option in read_arguments(self._variables.text(name) or "")]
            except ArgumentError as error:
                self._variables.fault(name, f"cannot be honoured: {error}", error.hint)
        return tuple(found)


def network_port(text: str) -> int:
    """Return a port; ValueError says what was expected."""
    if not re.fullmatch(r"[0-9]{1,5}", text.strip()) or not 1 <= int(text) <= 65535:
        raise ValueError("a port from 1 to 65535")
    return int(text)


def count(text: str) -> int:
    """Return a whole number from 0; ValueError says what was expected."""
    if not re.fullmatch(r"[0-9]{1,6}", text.strip()):
        raise ValueError("a whole number from 0")
    return int(text)


def positive_number(text: str) -> float:
    """Return a number of seconds or attempts from 1; ValueError says what was expected."""
    if not re.fullmatch(r"[0-9]{1,6}", text.strip()) or int(text) == 0:
        raise ValueError("a whole number from 1")
    return float(text)


def single_word(text: str) -> str:
    """Return a name or address; ValueError says what was expected."""
    if not re.fullmatch(r"[^\s\-][^\s\x00-\x1f]*", text):
        raise ValueError("one word that does not begin with a hyphen")
    return text


def _yes_or_no(text: str) -> bool:
    if text.lower() not in {"yes", "no", "true", "false"}:
        raise ValueError("yes or no")
    return text.lower() in {"yes", "true"}


def _checking(text: str) -> bool:
    if text.lower() not in {"yes", "no", "true", "false", "ask", "off", "accept-new"}:
        raise ValueError("yes, no, ask or accept-new")
    return text.lower() not in {"no", "false", "off"}
