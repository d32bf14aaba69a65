"""One source to statements: a YAML inventory's groups, hosts and variables, or a literal list of hosts.

Rules: the top level maps group names; a group has `hosts`, `vars` and `children`, each a mapping, one bare name or null; other keys are
passed over with a warning. A host's key may be a range and may carry a port.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from difflib import get_close_matches
from typing import Any

from ota.core.addresses import NameFormatError, expand_name, split_port
from ota.core.inventory import Place
from ota.core.inventory_assembly import (
    ChildStated,
    GroupStated,
    HostStated,
    Setting,
    Statement,
    VariableStated,
)
from ota.errors import Fault
from ota.formats.inventory_yaml import Document, freeze

SECTIONS = ("hosts", "vars", "children")
_DEEPEST = 100
"""Groups within groups; each is read within the reading of the one above."""


class GroupReader:
    """Reads the groups of one document in order, gathering statements, faults and warnings."""

    def __init__(self, document: Document, known: set[str]) -> None:
        """Read `document` after sources that already named the groups `known`, to which its own are added."""
        self._document = document
        self._known = known
        self.statements: list[Statement] = []
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = list(document.warnings)

    def read(self) -> None:
        """Read every group of the top level."""
        for name, body in self._document.content.items():
            self._group(name, body, (name,))

    def _group(self, name: Any, body: Any, path: tuple[Hashable, ...]) -> bool:
        """Read one group and all below it; False where it is none and unknown."""
        place = self._document.place(*path)
        if not isinstance(name, str) or not name:
            self.faults.append(
                place.fault(f"a group's name must be text, found {name!r}", "put it in quotes")
            )
            return False
        if body is not None and not isinstance(body, dict):
            problem = (
                f"{name!r} is no group: expected a mapping of hosts, vars and children, found {kind_of(body)}"
            )
            self.warnings.append(place.fault(problem, "it is passed over"))
            return name in self._known
        self._known.add(name)
        self.statements.append(GroupStated(name=name))
        for key, section in (body or {}).items():
            self._section(name, key, section, path)
        return True

    def _section(self, group: str, key: Any, section: Any, path: tuple[Hashable, ...]) -> None:
        place = self._document.place(*path, key)
        if key not in SECTIONS:
            guess = get_close_matches(str(key), SECTIONS, n=1)
            hint = f"did you mean {guess[0]!r}?" if guess else "a group has hosts, vars and children"
            self.warnings.append(place.fault(f"the key {key!r} of group {group!r} is passed over", hint))
            return
        entries = {section: None} if isinstance(section, str) else section
        if entries is None:
            return
        if not isinstance(entries, dict):
            problem = f"{key!r} of group {group!r} must be a mapping, found {kind_of(section)}"
            self.faults.append(place.fault(problem, _mapping_hint(key, section)))
            return
        for name, value in entries.items():
            inner = (*path, key, name)
            if key == "vars":
                self._variable(group, name, value, inner)
            elif key == "hosts":
                self._host(group, name, value, inner)
            else:
                self._child(group, name, value, inner)

    def _child(self, group: str, name: Any, body: Any, path: tuple[Hashable, ...]) -> None:
        place = self._document.place(*path)
        if len(path) > 2 * _DEEPEST:
            problem = f"the group {name!r} stands within more than {_DEEPEST - 1} others"
            self.faults.append(place.fault(problem, "write its body at the top of the file"))
        elif self._group(name, body, path):
            self.statements.append(ChildStated(parent=group, child=name, place=place))
        elif isinstance(name, str) and name:
            self.faults.append(self.warnings.pop())

    def _host(self, group: str, key: Any, variables: Any, path: tuple[Hashable, ...]) -> None:
        place = self._document.place(*path)
        if not isinstance(key, str) or not key:
            self.faults.append(place.fault(f"a host's name must be text, found {key!r}", "put it in quotes"))
            return
        try:
            names, port = expand_name(key)
        except NameFormatError as error:
            self.faults.append(place.fault(str(error)))
            return
        if variables and not isinstance(variables, dict):
            problem = f"the variables of host {key!r} must be a mapping, found {kind_of(variables)}"
            self.faults.append(place.fault(problem, "write `name: value` lines below it"))
            return
        settings = [
            setting
            for name, value in (variables or {}).items()
            for setting in self._frozen(name, value, (*path, name))
        ]
        for host in names:
            self.statements.append(HostStated(name=host, group=group, port=port, place=place))
            self.statements += [
                VariableStated(owner=host, name=name, value=setting.value, place=setting.place)
                for name, setting in settings
            ]

    def _variable(self, owner: str, name: Any, value: Any, path: tuple[Hashable, ...]) -> None:
        self.statements += [
            VariableStated(owner=owner, name=known, value=setting.value, place=setting.place)
            for known, setting in self._frozen(name, value, path)
        ]

    def _frozen(self, name: Any, value: Any, path: tuple[Hashable, ...]) -> Iterator[tuple[str, Setting]]:
        setting = read_setting(name, value, self._document.place(*path))
        if isinstance(setting, Fault):
            self.faults.append(setting)
        else:
            yield str(name), setting


def read_setting(name: Any, value: Any, place: Place) -> Setting | Fault:
    """Return a variable's value as core keeps it, or the fault where its name or value is none."""
    if not isinstance(name, str):
        return place.fault(f"a variable's name must be text, found {name!r}", "put it in quotes")
    try:
        return Setting(value=freeze(value), place=place)
    except TypeError as error:
        return place.fault(f"the variable {name!r} holds {error}, which an inventory cannot")


def host_list(text: str) -> Iterator[Statement | Fault]:
    """Yield what a literal list such as `pi01,pi02:2222,` says; ranges are not part of it.

    A list comes from the command line, so its place is the text itself.
    """
    place = Place(file=f"-i {text}")
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        name, port = split_port(item) or (item, None)
        if "[" in name:
            yield place.fault(
                f"{item!r} is a range, which a list of hosts cannot hold", "put it into a YAML inventory"
            )
        else:
            yield HostStated(name=name, group="ungrouped", port=port, place=place, only_new=True)


def kind_of(value: Any) -> str:
    """Return what a fault calls a value that should have been a mapping."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return f"{value!r}"


def _mapping_hint(key: str, section: Any) -> str:
    if isinstance(section, list) and section:
        return f"write `{section[0]}:` instead of `- {section[0]}`" if isinstance(section[0], str) else ""
    return f"write the names below `{key}:`, each with a colon"
