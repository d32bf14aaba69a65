"""From what the sources state, one after another, to an inventory: Ansible's rules of membership and precedence.

Rules: memberships add up; a variable's last writer wins within its layer; a group without a parent hangs under `all`, a host in no other
group is in `ungrouped`. Layers from low to high: inline `all`, inline groups, `group_vars/all`, `group_vars` of groups, inline host,
`host_vars`, extra variables. Groups merge by (depth, priority, name), later ones winning; with several folders of variable files
the folder counts before the depth. Mappings are replaced, not merged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ota.core.inventory import LOCALHOST_NAMES, Group, Host, Inventory, Place, Value
from ota.errors import Fault

PRIORITY = "ansible_group_priority"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStated:
    """A source names a group."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStated:
    """A source puts a host into a known group; with `only_new` only where the host is not known yet.

    The `port` counts where the host is named for the first time, as in Ansible.
    """

    name: str
    group: str
    place: Place
    port: int | None = None
    only_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStated:
    """A source puts a group under another, both known."""

    parent: str
    child: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableStated:
    """A source sets a variable of a known group or host; where both have the name it goes to the group, as in Ansible."""

    owner: str
    name: str
    value: Value
    place: Place


Statement = GroupStated | HostStated | ChildStated | VariableStated


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A variable's value and where it was written."""

    value: Value
    place: Place


Layer = Mapping[str, Setting]


@dataclass(frozen=True, slots=True, kw_only=True)
class VarsFolder:
    """What the files of one group_vars/ and its host_vars/ say, by the name of the group or host."""

    groups: Mapping[str, Layer]
    hosts: Mapping[str, Layer]


@dataclass(slots=True, kw_only=True)
class _GroupDraft:
    name: str
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    layer: dict[str, Setting] = field(default_factory=dict)
    priority: int = 1


@dataclass(slots=True, kw_only=True)
class _HostDraft:
    groups: dict[str, None] = field(default_factory=dict)
    layer: dict[str, Setting] = field(default_factory=dict)
    left: str | None = None
    """The group that the host left; it inherits nothing from it through another group either, as in Ansible."""


class Assembly:
    """An inventory in the making: state what the sources say, `close`, then `finish` with the files of variables."""

    def __init__(self) -> None:
        self._groups: dict[str, _GroupDraft] = {}
        self._hosts: dict[str, _HostDraft] = {}
        self._faults: list[Fault] = []
        self._add_group("all")
        self._add_group("ungrouped")
        self._link("all", "ungrouped", Place(file=""))

    def state(self, statements: Iterable[Statement]) -> None:
        """Take in what one source says, in its order."""
        for statement in statements:
            match statement:
                case GroupStated(name=name):
                    self._add_group(name)
                case HostStated():
                    self._add_host(statement)
                case ChildStated(parent=parent, child=child, place=place):
                    self._link(parent, child, place)
                case VariableStated():
                    self._set(statement)

    def close(self) -> tuple[Fault, ...]:
        """Hang every group under `all` and every lonely host under `ungrouped`; return all faults found so far."""
        for group in tuple(self._groups.values()):
            if group.name != "all" and not group.parents:
                self._link("all", group.name, Place(file=group.name))
        if tuple(self._groups["ungrouped"].parents) != ("all",):
            self._faults.append(
                Place(file="ungrouped").fault(
                    "the group `ungrouped` cannot hang under another group than `all`"
                )
            )
        for name in self._hosts:
            self._settle(name)
        return tuple(self._faults)

    @property
    def group_names(self) -> tuple[str, ...]:
        """All groups, in order of appearance."""
        return tuple(self._groups)

    @property
    def host_names(self) -> tuple[str, ...]:
        """All hosts, in order of appearance."""
        return tuple(self._hosts)

    def finish(
        self,
        *,
        folders: Sequence[VarsFolder] = (),
        extra: Layer = MappingProxyType({}),
        warnings: Sequence[Fault] = (),
    ) -> Inventory:
        """Return the inventory; later folders win over earlier ones."""
        depths = self._depths()
        rank = {name: (depths[name], draft.priority, name) for name, draft in self._groups.items()}
        members = {name: self._members(name) for name in self._groups}
        hosts = {
            name: self._host(name, sorted(self._above(name), key=rank.__getitem__), folders, extra)
            for name in members["all"]
        }
        clashes = tuple(
            Place(file=name).fault(
                "a host and a group have the same name, so the host's variables go to the group"
            )
            for name in self._hosts
            if name in self._groups
        )
        return Inventory(
            hosts=tuple(hosts.values()),
            groups=tuple(
                Group(
                    name=name,
                    hosts=tuple(draft.hosts),
                    children=tuple(draft.children),
                    members=members[name],
                    depth=depths[name],
                    priority=draft.priority,
                )
                for name, draft in self._groups.items()
            ),
            host_names=tuple(self._hosts),
            implicit=self._implicit(hosts, folders, extra),
            warnings=(*warnings, *clashes),
        )

    def _add_group(self, name: str) -> None:
        self._groups.setdefault(name, _GroupDraft(name=name))

    def _add_host(self, stated: HostStated) -> None:
        if stated.name not in self._hosts:
            self._hosts[stated.name] = _HostDraft()
            if stated.port:
                port = Setting(value=stated.port, place=stated.place)
                self._hosts[stated.name].layer["ansible_port"] = port
        elif stated.only_new:
            return
        self._join(stated.name, stated.group)

    def _join(self, host: str, group: str) -> None:
        self._groups[group].hosts[host] = None
        self._hosts[host].groups[group] = None

    def _link(self, parent: str, child: str, place: Place) -> None:
        if parent == child or parent in self._below(child):
            problem = f"the groups {parent!r} and {child!r} contain each other"
            self._faults.append(
                place.fault(problem, "a group cannot be its own child, not even through others")
            )
            return
        self._groups[parent].children[child] = None
        self._groups[child].parents[parent] = None

    def _set(self, stated: VariableStated) -> None:
        setting = Setting(value=stated.value, place=stated.place)
        group = self._groups.get(stated.owner)
        if group is None:
            self._hosts[stated.owner].layer[stated.name] = setting
        elif stated.name == PRIORITY:
            self._set_priority(group, setting)
        else:
            group.layer[stated.name] = setting

    def _set_priority(self, group: _GroupDraft, setting: Setting) -> None:
        value = setting.value
        if isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,9}", value)):
            group.priority = int(value)
        else:
            problem = f"{PRIORITY} of {group.name!r} must be a whole number, found {value!r}"
            self._faults.append(setting.place.fault(problem))

    def _settle(self, host: str) -> None:
        above = self._above(host)
        others = above - {"all", "ungrouped"}
        if "ungrouped" in above:
            if others:
                self._leave_ungrouped(host)
        elif not others:
            if host in self._groups:
                self._link("ungrouped", host, Place(file=host))
            else:
                self._join(host, "ungrouped")

    def _leave_ungrouped(self, host: str) -> None:
        if host in self._groups["ungrouped"].hosts:
            del self._groups["ungrouped"].hosts[host]
            del self._hosts[host].groups["ungrouped"]
            self._hosts[host].left = "ungrouped"

    def _above(self, host: str) -> frozenset[str]:
        found = set(self._hosts[host].groups)
        waiting = list(found)
        while waiting:
            new = self._groups[waiting.pop()].parents.keys() - found
            found |= new
            waiting += new
        return frozenset(found) - {self._hosts[host].left}

    def _below(self, group: str) -> dict[str, None]:
        """Return the group and all below it, level by level, each once, in the order in which Ansible lists hosts."""
        found = {group: None}
        level = [group]
        while level:
            level = [child for name in level for child in self._groups[name].children if child not in found]
            level = list(dict.fromkeys(level))
            found.update(dict.fromkeys(level))
        return found

    def _members(self, group: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(host for name in self._below(group) for host in self._groups[name].hosts))

    def _depths(self) -> dict[str, int]:
        """Return the longest path from `all` to each group: a group is passed on when all its parents are done."""
        depths = {"all": 0}
        missing = {name: len(group.parents) for name, group in self._groups.items()}
        done = ["all"]
        for name in done:
            for child in self._groups[name].children:
                depths[child] = max(depths.get(child, 0), depths[name] + 1)
                missing[child] -= 1
                if not missing[child]:
                    done.append(child)
        return depths

    def _host(self, name: str, groups: Sequence[str], folders: Sequence[VarsFolder], extra: Layer) -> Host:
        inner = [group for group in groups if group != "all"]
        layers: list[Layer] = [self._groups["all"].layer]
        layers += [self._groups[group].layer for group in inner]
        layers += [folder.groups.get("all", {}) for folder in folders]
        layers += [folder.groups.get(group, {}) for folder in folders for group in inner]
        layers.append(self._hosts[name].layer)
        layers += [folder.hosts.get(name, {}) for folder in folders]
        return _merged(name, inner, [*layers, extra])

    def _implicit(
        self, hosts: Mapping[str, Host], folders: Sequence[VarsFolder], extra: Layer
    ) -> tuple[tuple[str, Host], ...]:
        """Return what each of LOCALHOST_NAMES that no source names stands for: the one that is named, else this machine."""
        stated = next(
            (hosts[name] for name in self._hosts if name in LOCALHOST_NAMES and name in hosts), None
        )
        missing = [name for name in LOCALHOST_NAMES if name not in self._hosts]
        if stated is not None:
            return tuple((name, stated) for name in missing)
        local = {"ansible_connection": Setting(value="local", place=Place(file="localhost"))}
        layers = [
            self._groups["all"].layer,
            *(folder.groups.get("all", {}) for folder in folders),
            local,
            extra,
        ]
        return tuple((name, _merged(name, (), layers)) for name in missing)


def _merged(name: str, groups: Sequence[str], layers: Sequence[Layer]) -> Host:
    settings = {variable: setting for layer in layers for variable, setting in layer.items()}
    return Host(
        name=name,
        groups=tuple(sorted(groups)),
        variables=MappingProxyType({variable: setting.value for variable, setting in settings.items()}),
        places=MappingProxyType({variable: setting.place for variable, setting in settings.items()}),
    )
