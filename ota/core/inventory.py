"""Hosts, groups and patterns, as Ansible has them; how they come about is `ota.core.inventory_assembly`'s business.

Invariants: every group hangs under `all`; a host has one name, all groups above it and its variables already merged; a selection that is
empty by accident is an error and never means every host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from ota.core.patterns import (
    looks_at_hosts,
    matcher,
    ordered_terms,
    split_pattern,
    split_subscript,
    unmatched,
)
from ota.errors import Fault, UsageError

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...] | Mapping[str, Value] | None"

VAULT_KEY = "__ansible_vault"
"""The single key of a mapping that stands for an encrypted scalar, as in Ansible's own JSON."""
UNSAFE_KEY = "__ansible_unsafe"
"""The single key of a mapping that stands for a string that is never a Jinja template, as in Ansible's own JSON."""

LOCALHOST_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something was written; line and column count from 1, 0 where unknown."""

    file: str
    line: int = 0
    column: int = 0

    def fault(self, problem: str, hint: str = "") -> Fault:
        """Return a fault of this place."""
        return Fault(file=self.file, line=self.line, column=self.column, problem=problem, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """An entry of the inventory: `groups` are all groups above it but `all`, sorted; `places` says where each variable was written."""

    name: str
    groups: tuple[str, ...] = ()
    variables: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    places: Mapping[str, Place] = field(
        default_factory=lambda: MappingProxyType({}), hash=False, compare=False, repr=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group: its own hosts and child groups in the order of the files, and all hosts at and below it.

    `depth` is the longest path from `all`; `members` go through the groups level by level.
    """

    name: str
    hosts: tuple[str, ...]
    children: tuple[str, ...]
    members: tuple[str, ...]
    depth: int
    priority: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All hosts and groups; `hosts` are in the order of `all`, `groups` and `host_names` in the order of appearance.

    `implicit` are the hosts that a pattern finds by one of LOCALHOST_NAMES although no file names them; `warnings` are what Ansible
    would warn of.
    """

    hosts: tuple[Host, ...]
    groups: tuple[Group, ...]
    host_names: tuple[str, ...]
    implicit: tuple[tuple[str, Host], ...] = ()
    warnings: tuple[Fault, ...] = ()

    def host(self, name: str) -> Host:
        """Return the host called `name`.

        Raises:
            UsageError: there is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        for alias, host in self.implicit:
            if alias == name:
                return host
        raise unmatched(name, (host.name for host in self.hosts))

    def group(self, name: str) -> Group:
        """Return the group called `name`.

        Raises:
            UsageError: there is none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise unmatched(name, (group.name for group in self.groups))

    def select(
        self,
        pattern: str | Sequence[str] | None = None,
        *,
        limit: str | Sequence[str] | None = None,
        allow_unmatched: bool = False,
    ) -> tuple[Host, ...]:
        """Return the hosts that a play's `pattern` (None: all) names and that `limit` keeps, in Ansible's order.

        A `limit` given as text is cut into terms; given as a sequence it holds terms already, such as those that
        `ota.formats.inventory.limit_terms` reads from files.

        Raises:
            UsageError: a pattern is empty or malformed, a term matches nothing (unless allowed), or no host is left.
        """
        terms = _terms(pattern, "the host pattern", cut=True)
        matching = _Matching(self, allow_unmatched=allow_unmatched)
        chosen = matching.names(terms or ("all",))
        if limit is not None:
            allowed = frozenset(matching.names(_terms(limit, "--limit", cut=isinstance(limit, str))))
            chosen = tuple(name for name in chosen if name in allowed)
        if not chosen:
            words = " with --limit ".join(repr(_text(p)) for p in (pattern or "all", limit) if p is not None)
            raise UsageError(f"no host is left by {words}", hint="`ota inventory --graph` shows every name")
        return tuple(matching.host(name) for name in chosen)


class _Matching:
    """The evaluation of patterns against one inventory."""

    def __init__(self, inventory: Inventory, *, allow_unmatched: bool) -> None:
        self._allow_unmatched = allow_unmatched
        self._names = inventory.host_names
        self._hosts = {host.name: host for host in inventory.hosts}
        self._groups = {group.name: group for group in inventory.groups}
        self._implicit = dict(inventory.implicit)
        self._here: str | None = None

    def host(self, name: str) -> Host:
        """Return the host called `name`, which one of the patterns matched."""
        found = self._hosts.get(name)
        return found if found is not None else self._implicit[name]

    def names(self, terms: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the hosts that all terms together leave, each once."""
        chosen: dict[str, None] = {}
        for term in ordered_terms(terms):
            if term in self._hosts:
                chosen[term] = None
                continue
            found = self._term(term)
            if term[0] == "!":
                chosen = {name: None for name in chosen if name not in found}
            elif term[0] == "&":
                chosen = {name: None for name in chosen if name in found}
            else:
                chosen.update(dict.fromkeys(found))
        return tuple(chosen)

    def _term(self, term: str) -> tuple[str, ...]:
        expression = term[1:] if term[0] in "&!" else term
        if not expression:
            raise UsageError(f"the pattern term {term!r} names nothing", hint="put a host or group behind it")
        bare, subscript = split_subscript(expression)
        matches = matcher(bare).match
        groups = [group for name, group in self._groups.items() if matches(name)]
        found = [name for group in groups for name in group.members]
        if not groups or looks_at_hosts(bare):
            found += [name for name in self._names if matches(name)]
        if not found and bare in self._implicit:
            self._here = self._here or self._implicit[bare].name
            found = [self._here]
        if not found and not groups and bare != "all" and not self._allow_unmatched:
            raise unmatched(term, (*self._hosts, *self._groups))
        return subscript.pick(found, term) if subscript else tuple(found)


def _terms(pattern: str | Sequence[str] | None, what: str, *, cut: bool) -> tuple[str, ...]:
    if pattern is None:
        return ()
    given = (pattern,) if isinstance(pattern, str) else tuple(pattern)
    terms = tuple(term for text in given for term in (split_pattern(text) if cut else (text,)) if term)
    if not terms:
        raise UsageError(
            f"{what} is empty", found=repr(_text(pattern)), hint="write `all` where every host is meant"
        )
    for term in terms:
        if term.startswith("@"):
            raise UsageError(f"{what} names the file {term[1:]!r} where no file can be read")
    return terms


def _text(pattern: str | Sequence[str]) -> str:
    return pattern if isinstance(pattern, str) else ",".join(pattern)
