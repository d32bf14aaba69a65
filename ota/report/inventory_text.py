"""An inventory as documents and text, in the shapes that `ansible-inventory` prints.

Rules: groups and hosts in the order of the inventory, each group told once, empty groups only named by their parents; variables that
Ansible sets itself are left out; `all` never lists hosts of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from ota.core.inventory import UNSAFE_KEY, Group, Host, Inventory, Value

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAGIC_VARIABLES = frozenset(
    f"ansible_{name}"
    for name in (
        "async_path", "collection_name", "config_file", "dependent_role_names", "diff_mode", "facts", "forks",
        "inventory_sources", "limit", "play_batch", "play_hosts", "play_hosts_all", "play_role_names", "playbook_python",
        "role_name", "role_names", "run_tags", "skip_tags", "verbosity", "version",
    )
) | {
    "group_names", "groups", "hostvars", "inventory_dir", "inventory_file", "inventory_hostname",
    "inventory_hostname_short", "play_hosts", "playbook_dir", "role_name", "role_names", "role_path", "role_uuid",
}  # fmt: skip


def inventory_document(inventory: Inventory, hosts: Sequence[Host] | None = None) -> dict[str, Json]:
    """Return what `ansible-inventory --list` prints, for all hosts or, as with --limit, for these."""
    shown = inventory.hosts if hosts is None else hosts
    groups = {group.name: group for group in inventory.groups}
    document: dict[str, Json] = dict(_groups(groups, "all", {host.name for host in shown}, set()))
    variables = {host.name: _variables(host, unsafe=True) for host in shown}
    document["_meta"] = {
        "hostvars": {name: known for name, known in variables.items() if known},
        "profile": "inventory_legacy",
    }
    return document


def host_document(host: Host) -> dict[str, Json]:
    """Return what `ansible-inventory --host NAME` prints."""
    return _variables(host, unsafe=False)


def graph_text(inventory: Inventory, group: str = "all") -> str:
    """Return what `ansible-inventory --graph GROUP` prints, without a final newline.

    Raises:
        UsageError: there is no such group.
    """
    groups = {known.name: known for known in inventory.groups}
    return "\n".join(_graph(groups, inventory.group(group), 0))


def _groups(
    groups: Mapping[str, Group], name: str, shown: Collection[str], told: set[str]
) -> Iterator[tuple[str, Json]]:
    group = groups[name]
    body: dict[str, Json] = {}
    hosts: list[Json] = [host for host in group.hosts if host in shown]
    if hosts and name != "all":
        body["hosts"] = hosts
    if group.children:
        body["children"] = list(group.children)
    if body:
        yield name, body
    for child in group.children:
        if child not in told:
            told.add(child)
            yield from _groups(groups, child, shown, told)


def _graph(groups: Mapping[str, Group], group: Group, depth: int) -> Iterator[str]:
    yield _branch(f"@{group.name}:", depth)
    for child in group.children:
        yield from _graph(groups, groups[child], depth + 1)
    if group.name != "all":
        yield from (_branch(host, depth + 1) for host in group.hosts)


def _branch(name: str, depth: int) -> str:
    return "  |" * depth + f"--{name}" if depth else name


def _variables(host: Host, *, unsafe: bool) -> dict[str, Json]:
    return {
        name: _json(value, unsafe=unsafe)
        for name, value in host.variables.items()
        if name not in MAGIC_VARIABLES
    }


def _json(value: Value, *, unsafe: bool) -> Json:
    """Return a value in plain lists and dicts; Ansible marks strings that are no templates in --list, not in --host."""
    if isinstance(value, tuple):
        return [_json(item, unsafe=unsafe) for item in value]
    if isinstance(value, Mapping):
        if not unsafe and value.keys() == {UNSAFE_KEY}:
            return _json(value[UNSAFE_KEY], unsafe=unsafe)
        return {key: _json(item, unsafe=unsafe) for key, item in value.items()}
    return value
