"""Membership and precedence, stated one thing after another."""

from __future__ import annotations

import pytest

from ota.core.inventory import Inventory, Place, Value
from ota.core.inventory_assembly import (
    Assembly,
    ChildStated,
    GroupStated,
    HostStated,
    Setting,
    Statement,
    VariableStated,
    VarsFolder,
)

PLACE = Place(file="inventory.yaml", line=3, column=5)


def group(name: str) -> Statement:
    """State a group."""
    return GroupStated(name=name)


def host(name: str, within: str, port: int | None = None, *, only_new: bool = False) -> Statement:
    """State a host."""
    return HostStated(name=name, group=within, port=port, place=PLACE, only_new=only_new)


def child(parent: str, name: str) -> Statement:
    """State that a group hangs under another."""
    return ChildStated(parent=parent, child=name, place=PLACE)


def variable(owner: str, value: Value, name: str = "v") -> Statement:
    """State a variable."""
    return VariableStated(owner=owner, name=name, value=value, place=PLACE)


def assemble(*statements: Statement, folders: tuple[VarsFolder, ...] = ()) -> Inventory:
    """Assemble what must be free of faults."""
    assembly = Assembly()
    assembly.state(statements)
    assert assembly.close() == ()
    return assembly.finish(folders=folders)


def folder(**groups: Value) -> VarsFolder:
    """A folder whose files set `v` for groups."""
    return VarsFolder(
        groups={name: {"v": Setting(value=value, place=PLACE)} for name, value in groups.items()}, hosts={}
    )


BOTH = (group("a"), group("b"), host("pi01", "a"), host("pi01", "b"))
WINNERS: dict[str, tuple[tuple[Statement, ...], Value]] = {
    "the later name at equal depth": ((*BOTH, variable("b", "b"), variable("a", "a")), "b"),
    "the higher priority at equal depth": (
        (*BOTH, variable("b", "b"), variable("a", "a"), variable("a", 2, "ansible_group_priority")),
        "a",
    ),
    "a priority written as text": (
        (*BOTH, variable("b", "b"), variable("a", "a"), variable("a", "10", "ansible_group_priority")),
        "a",
    ),
    "the deeper group, whatever its priority": (
        (
            *BOTH,
            group("z"),
            child("z", "a"),
            variable("b", "b"),
            variable("a", "a"),
            variable("b", 9, "ansible_group_priority"),
        ),
        "a",
    ),
    "the longest path counts as depth": (
        (
            *BOTH,
            group("c"),
            child("c", "b"),
            child("b", "a"),
            child("c", "a"),
            variable("b", "b"),
            variable("a", "a"),
        ),
        "a",
    ),
    "the last writer within a group": ((*BOTH, variable("b", 1), variable("b", 2)), 2),
    "a mapping is replaced": (
        (*BOTH, variable("a", {"k": 1}), variable("b", {"l": 2})),
        {"l": 2},
    ),
    "a null wins too": ((*BOTH, variable("a", 1), variable("b", None)), None),
    "the host": ((*BOTH, variable("pi01", "host"), variable("b", "b")), "host"),
}


@pytest.mark.parametrize("name", WINNERS)
def test_who_wins(name: str) -> None:
    """Of several writers this one wins."""
    statements, value = WINNERS[name]
    assert assemble(*statements).host("pi01").variables["v"] == value


def test_a_file_for_all_beats_inline_variables_of_a_deeper_group() -> None:
    """The well-known trap: files of variables win over everything inline but the host's own."""
    inventory = assemble(*BOTH, variable("b", "inline"), folders=(folder(all="file"),))
    assert inventory.host("pi01").variables["v"] == "file"


def test_a_later_folder_beats_a_deeper_group() -> None:
    """With several folders the folder counts first, but all groups beat `all`."""
    assert assemble(*BOTH, folders=(folder(b="1b"), folder(a="2a"))).host("pi01").variables["v"] == "2a"
    assert assemble(*BOTH, folders=(folder(b="1b"), folder(all="2all"))).host("pi01").variables["v"] == "1b"


def test_every_group_hangs_under_all_and_every_host_in_a_group() -> None:
    """A group without parent is a child of `all`; a host in no other group is in `ungrouped`, and leaves it otherwise."""
    inventory = assemble(
        group("a"),
        host("lonely", "all"),
        host("pi01", "ungrouped"),
        host("pi01", "a"),
        host("listed", "ungrouped"),
    )
    assert inventory.group("all").children == ("ungrouped", "a")
    assert inventory.group("ungrouped").hosts == ("listed", "lonely")
    assert [found.name for found in inventory.hosts] == ["lonely", "listed", "pi01"]
    assert inventory.host_names == ("lonely", "pi01", "listed")
    assert inventory.host("pi01").groups == ("a",)


def test_members_go_level_by_level() -> None:
    """A group lists its own hosts, then those of its children, then those of theirs, each once."""
    inventory = assemble(
        *map(group, "abcd"),
        host("4", "d"),
        host("3", "c"),
        host("2", "b"),
        host("1", "a"),
        host("4", "b"),
        child("a", "b"),
        child("b", "d"),
        child("a", "c"),
    )
    assert inventory.group("a").members == ("1", "2", "4", "3")
    assert [inventory.group(name).depth for name in "abcd"] == [1, 2, 2, 3]


def test_a_port_counts_where_the_host_is_first_named() -> None:
    """A later key with another port changes nothing; a port of 0 is none."""
    inventory = assemble(
        host("a", "all", 1), host("a", "all", 2), host("b", "all"), host("b", "all", 3), host("c", "all", 0)
    )
    assert [found.variables.get("ansible_port") for found in inventory.hosts] == [1, None, None]


def test_a_literal_list_leaves_known_hosts_alone() -> None:
    """`only_new` states a host only where it is not known."""
    inventory = assemble(
        group("a"),
        host("pi01", "a"),
        host("pi01", "all", 5, only_new=True),
        host("pi02", "all", 5, only_new=True),
    )
    assert [found.name for found in inventory.hosts] == ["pi02", "pi01"]
    assert inventory.host("pi02").variables["ansible_port"] == 5


def test_a_loop_is_a_fault_with_its_place() -> None:
    """Groups that contain each other, through any number of others, are refused where the loop closes."""
    assembly = Assembly()
    assembly.state([*map(group, "abc"), child("a", "b"), child("b", "c"), child("c", "a"), child("a", "all")])
    assert [fault.render() for fault in assembly.close()] == [
        "inventory.yaml:3:5: the groups 'c' and 'a' contain each other (a group cannot be its own child, not even through others)",
        "a: the groups 'all' and 'a' contain each other (a group cannot be its own child, not even through others)",
    ]


def test_a_host_named_like_a_group_gives_its_variables_to_the_group() -> None:
    """Ansible looks for a group first; the clash is told."""
    inventory = assemble(group("pis"), host("pi01", "pis"), host("pis", "pis"), variable("pis", 1))
    assert inventory.host("pi01").variables["v"] == 1
    assert [warning.problem for warning in inventory.warnings] == [
        "a host and a group have the same name, so the host's variables go to the group"
    ]
