"""The shapes that ansible-inventory prints; equality with the program itself is in tests/formats."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from ota.core.inventory import Group, Host, Inventory, Value
from ota.errors import UsageError
from ota.report.inventory_text import graph_text, host_document, inventory_document


def group(name: str, hosts: tuple[str, ...] = (), children: tuple[str, ...] = ()) -> Group:
    """A group as far as printing looks at it."""
    return Group(name=name, hosts=hosts, children=children, members=hosts, depth=0)


VARIABLES: dict[str, Value] = {
    "port": 22,
    "inventory_dir": "/etc",
    "list": (1, MappingProxyType({"k": None})),
    "literal": MappingProxyType({"__ansible_unsafe": "{{ x }}"}),
    "secret": MappingProxyType({"__ansible_vault": "x"}),
}
FLEET = Inventory(
    hosts=(Host(name="solo"), Host(name="pi01", variables=MappingProxyType(VARIABLES))),
    host_names=("solo", "pi01"),
    groups=(
        group("all", ("solo",), ("ungrouped", "pis", "empty")),
        group("ungrouped", ("solo",)),
        group("pis", ("pi01",), ("lab",)),
        group("empty"),
        group("lab", ("pi01",)),
    ),
)


def test_the_document_names_groups_and_variables() -> None:
    """Empty groups are only named by their parents, hosts without variables not at all, magic variables nowhere."""
    assert inventory_document(FLEET) == {
        "all": {"children": ["ungrouped", "pis", "empty"]},
        "ungrouped": {"hosts": ["solo"]},
        "pis": {"hosts": ["pi01"], "children": ["lab"]},
        "lab": {"hosts": ["pi01"]},
        "_meta": {
            "hostvars": {
                "pi01": {
                    "port": 22,
                    "list": [1, {"k": None}],
                    "literal": {"__ansible_unsafe": "{{ x }}"},
                    "secret": {"__ansible_vault": "x"},
                }
            },
            "profile": "inventory_legacy",
        },
    }


def test_a_limit_leaves_hosts_out() -> None:
    """With a limit the other hosts are in no group and have no variables."""
    document = inventory_document(FLEET, FLEET.hosts[:1])
    assert document["pis"] == {"children": ["lab"]}
    assert "lab" not in document
    assert document["_meta"] == {"hostvars": {}, "profile": "inventory_legacy"}


def test_one_host_is_its_variables() -> None:
    """--host prints literal strings plainly, unlike --list."""
    assert host_document(FLEET.hosts[1])["literal"] == "{{ x }}"
    assert host_document(FLEET.hosts[0]) == {}


def test_the_graph_is_a_tree() -> None:
    """Child groups come before hosts; a part may be drawn; an unknown group is an error with a guess."""
    assert graph_text(FLEET).splitlines() == [
        "@all:",
        "  |--@ungrouped:",
        "  |  |--solo",
        "  |--@pis:",
        "  |  |--@lab:",
        "  |  |  |--pi01",
        "  |  |--pi01",
        "  |--@empty:",
    ]
    assert graph_text(FLEET, "lab") == "@lab:\n  |--pi01"
    with pytest.raises(UsageError, match="did you mean 'lab'"):
        graph_text(FLEET, "lap")
