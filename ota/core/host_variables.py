"""Reading a host's variables as typed values: aliases in Ansible's order, every fault with its place, no value used that is not in clear.

Rules: of several names for one thing the last that is set wins; a null is as good as absent; a number may be written as text. Jinja
expressions and encrypted values are refused where they would be used, since `ota` neither evaluates nor decrypts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from ota.core.inventory import UNSAFE_KEY, VAULT_KEY, Host, Place, Value
from ota.errors import Fault

_JINJA = re.compile(r"\{\{|\{%|\{#")
_ENVIRONMENT = re.compile(r"lookup\(\s*['\"](?:ansible\.builtin\.)?env['\"]\s*,\s*['\"](\w+)['\"]")
_TRUE = frozenset(("y", "yes", "on", "1", "true", "t"))
_FALSE = frozenset(("n", "no", "off", "0", "false", "f"))

_T = TypeVar("_T")


class HostVariables:
    """The variables of one host, read once; faults gather in `faults`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.faults: list[Fault] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all variables that are set."""
        return tuple(name for name, value in self._host.variables.items() if value is not None)

    def fault(self, name: str, problem: str, hint: str = "") -> None:
        """Note a fault of the variable `name`."""
        place = self._host.places.get(name) or Place(file=self._host.name)
        self.faults.append(place.fault(f"{name} of host {self._host.name!r} {problem}", hint))

    def find(self, *names: str) -> str | None:
        """Return the name that counts among aliases, lowest first; None where none is set."""
        return next((name for name in reversed(names) if self._host.variables.get(name) is not None), None)

    def value(self, name: str) -> Value:
        """Return a variable's value as it is, None where it is not set."""
        return self._host.variables.get(name)

    def text(self, *names: str) -> str | None:
        """Return the text of the alias that counts; None where none is set or it is faulty."""
        name = self.find(*names)
        return None if name is None else self.clear(name, self.value(name))

    def clear(self, name: str, value: Value) -> str | None:
        """Return a value of the variable `name` as text in clear; None after noting a fault."""
        if isinstance(value, Mapping) and value.keys() == {UNSAFE_KEY}:
            return str(value[UNSAFE_KEY])
        if isinstance(value, Mapping) and value.keys() == {VAULT_KEY}:
            hint = (
                "write it in clear, or take a password from a prompt or the environment: ota_password_source"
            )
            self.fault(name, "is encrypted by ansible-vault, which `ota` does not decrypt", hint)
        elif isinstance(value, bool | float | tuple | Mapping) or value is None:
            self.fault(name, "must be text or a whole number")
        elif isinstance(value, str) and _JINJA.search(value):
            self.fault(name, "is a Jinja expression, which `ota` does not evaluate", _jinja_hint(name, value))
        else:
            return str(value)
        return None

    def parsed(self, parse: Callable[[str], _T], *names: str) -> _T | None:
        """Return what `parse` makes of the text; its ValueError says what was expected."""
        text = self.text(*names)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.fault(self.find(*names) or "", f"must be {error}, found {text!r}")
            return None

    def flag(self, *names: str, default: bool) -> bool:
        """Return a truth value as Ansible spells them."""
        name = self.find(*names)
        value = default if name is None else self.value(name)
        if name is None or isinstance(value, bool):
            return bool(value)
        word = (self.clear(name, value) or "").strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        if word:
            self.fault(name, f"must be true or false, found {word!r}")
        return default


def _jinja_hint(name: str, value: str) -> str:
    found = _ENVIRONMENT.search(value)
    if found and "pass" in name:
        return f"write `ota_password_source: env:{found[1]}` instead"
    return "write the value itself, or pass it with -e"
