"""The inventory against ansible-core itself: generated inventories, patterns and limits must mean the same to both.

What deliberately differs is in DIFFERENCES of test_inventory_against_programs.py; here only `_documented` lets one of them pass. Where
Ansible itself lists hosts in an order that changes from run to run (`_steady`) only the set is compared. OTA_DIFFERENTIAL_EXAMPLES
sets how many inventories are generated; each is tried with PATTERNS_EACH patterns and limits.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

_HOME = Path(tempfile.gettempdir()) / f"ota-tests-ansible-{os.getuid()}"
_HOME.mkdir(exist_ok=True)
(_HOME / "ansible.cfg").write_text("[defaults]\ndeprecation_warnings = false\n")
os.environ["ANSIBLE_CONFIG"] = str(_HOME / "ansible.cfg")
os.environ["ANSIBLE_HOME"] = str(_HOME)

# ruff: noqa: E402 - Ansible reads its environment while it is imported
from ansible import constants
from ansible.cli.inventory import InventoryCLI
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.release import __version__ as ansible_version
from ansible.vars.manager import VariableManager

from ota.core.inventory import Inventory
from ota.errors import ContentError, UsageError
from ota.formats.inventory import load_inventory
from ota.report.inventory_text import graph_text, inventory_document

pytestmark = pytest.mark.skipif(
    tuple(int(part) for part in ansible_version.split(".")[:2]) < (2, 19),
    reason="older ansible-core prints another shape and takes 1::2:host for an address; 2.19 needs Python 3.11",
)

EXAMPLES = int(os.environ.get("OTA_DIFFERENTIAL_EXAMPLES", "300"))
PATTERNS_EACH = 8

HOSTS = ("pi01", "pi02", "pi03", "pi1", "cam", "cam.lan", "10.0.0.1", "localhost", "2001:db8::1")
KEYS = (
    *HOSTS, "pi[01:03]", "pi[1:3]", "cam[a:c]", "n[0:6:3]x[1:2]", "10.0.0.[1:3]", "pi01:2222", "pi[02:03]:22", "[2001:db8::1]:2022",
    "10.0.0.1:23", "2001:db8::[1:3]", "n[:2]", "pi_x", "-odd", "x:y:z", "cam.lan:0",
)  # fmt: skip
GROUPS = ("all", "pis", "cams", "lab", "pi", "edge-site", "site.a", "ungrouped", "pi01", "zoo")
VARIABLES = ("a", "b", "ansible_host", "ansible_group_priority", "inventory_dir")
TERMS = (
    *HOSTS, *GROUPS, "pi*", "*", "pi0?", "pi0[12]", "pi0[!1]", "pis[0]", "pis[-1]", "pis[0:1]", "pis[1:]", "pis[1-2]", "all[2]", "pi*[1:0]",
    "cam[a:b]", "~pi0[12]", "~(?i)PI", "~^cam$", "~.", "cam.*", "absent", "127.0.0.1", "lab[:1]", "all[9:]", "x*", "10.0.0.*", "PIS", "pi[1]",
)  # fmt: skip

values = st.recursive(
    st.sampled_from([1, 2, "x", "22", "{{ x }}", True, None, 1.5, "yes", "010", "é"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["k", "l"]), inner, max_size=2)
    ),
    max_leaves=3,
)
variables = st.dictionaries(st.sampled_from(VARIABLES), values, max_size=3).map(
    lambda found: {name: 5 if name == "ansible_group_priority" else value for name, value in found.items()}
)
hosts = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), st.none() | variables, min_size=1, max_size=5),
    st.dictionaries(st.sampled_from(KEYS), st.none(), min_size=2, max_size=5),
    st.sampled_from(KEYS),
    st.none(),
)


def _group(children: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | st.fixed_dictionaries(
        {},
        optional={
            "hosts": hosts,
            "vars": st.none() | variables,
            "children": st.none()
            | st.dictionaries(st.sampled_from(GROUPS[1:]), children, min_size=1, max_size=3),
        },
    )


trees = st.dictionaries(
    st.sampled_from(GROUPS), st.recursive(_group(st.none()), _group, max_leaves=10), min_size=2, max_size=5
)
LAYERED = ("all", "pis", "cams", "lab", "site.a", "edge-site", "pi01")


def _layered(number: int) -> st.SearchStrategy[dict]:
    """A group of the layered trees: hosts of its own, children only among later groups, so that no loop can arise."""
    later = LAYERED[number + 1 :]
    children = st.dictionaries(st.sampled_from(later), st.none(), max_size=2) if later else st.none()
    return st.fixed_dictionaries({"hosts": hosts, "children": children, "vars": variables})


layered = st.permutations(LAYERED).flatmap(
    lambda order: st.fixed_dictionaries({name: _layered(LAYERED.index(name)) for name in order})
)
vars_files = st.dictionaries(
    st.tuples(
        st.sampled_from(GROUPS + HOSTS[:6]),
        st.sampled_from(["", ".yml", ".yaml", ".json", "/one.yml", "/sub/two", "/x.ini"]),
    ),
    variables,
    max_size=4,
)
terms = st.builds(str.__add__, st.sampled_from(["", "", "", "&", "!"]), st.sampled_from(TERMS))
patterns = st.builds(str.join, st.sampled_from([",", ":", " , "]), st.lists(terms, min_size=1, max_size=3))
limits = st.none() | st.sampled_from(["all", "pi*", "*", "!pi01", "pis:&lab", "!cams"]) | patterns


class Site:
    """A folder with inventories and files of variables, written from a generated description."""

    def __init__(self, folder: Path, described: list[tuple[dict, dict, dict]], play_vars: dict) -> None:
        self.folder = folder
        self.sources = []
        for number, (tree, group_vars, host_vars) in enumerate(described):
            home = folder / f"source{number}"
            home.mkdir()
            self._write_vars(home, group_vars, host_vars)
            source = home / "inventory.yml"
            source.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")
            self.sources.append(str(source))
        self.play = folder / "play"
        self.play.mkdir()
        self._write_vars(self.play, play_vars, {})

    @staticmethod
    def _write_vars(home: Path, group_vars: dict, host_vars: dict) -> None:
        for kind, files in (("group_vars", group_vars), ("host_vars", host_vars)):
            for (name, ending), content in files.items():
                path = home / kind / f"{name}{ending}"
                if path.exists() or any(parent.is_file() for parent in path.parents):
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(content), encoding="utf-8")


class Ansible:
    """ansible-core in this process, asked about one site."""

    def __init__(self, site: Site) -> None:
        self.cli = InventoryCLI(["ansible-inventory", "--list"])
        self.cli.parse()
        self.cli.loader = DataLoader()
        self.cli.loader.set_basedir(str(site.play))
        self.cli.inventory = InventoryManager(loader=self.cli.loader, sources=site.sources)
        self.cli.vm = VariableManager(loader=self.cli.loader, inventory=self.cli.inventory)

    @property
    def understood(self) -> bool:
        """Whether every source was parsed, which Ansible itself does not insist on."""
        return len(self.cli.inventory._inventory.processed_sources) == len(self.cli.inventory._sources)

    def document(self) -> dict:
        """What `ansible-inventory --list` prints."""
        return json.loads(self.cli.dump(self.cli.json_inventory(self.cli.inventory.groups["all"])))

    def graph(self) -> str:
        """What `ansible-inventory --graph` prints."""
        return "\n".join(self.cli._graph_group(self.cli.inventory.groups["all"]))

    def hosts(self, pattern: str, limit: str | None, *, mismatch: str) -> list[str] | None:
        """The names that the pattern and limit leave, None where Ansible refuses."""
        inventory = self.cli.inventory
        inventory.clear_caches()
        if inventory._inventory.localhost is not None and inventory._inventory.localhost.implicit:
            inventory._inventory.localhost = None
        constants.HOST_PATTERN_MISMATCH = mismatch
        try:
            inventory.subset(limit)
            return [host.name for host in inventory.get_hosts(pattern)]
        except AnsibleError:
            return None
        finally:
            inventory.subset(None)


def _ours(
    inventory: Inventory, pattern: str, limit: str | None, *, allow_unmatched: bool
) -> list[str] | None:
    try:
        return [host.name for host in inventory.select(pattern, limit=limit, allow_unmatched=allow_unmatched)]
    except UsageError:
        return None


def _steady(inventory: Inventory) -> bool:
    """Whether Ansible lists hosts in one order: it walks sets of groups where two groups of one level have children."""
    children = {group.name: group.children for group in inventory.groups}
    for start in children:
        seen, level = {start}, {start}
        while level:
            if sum(bool(set(children[name]) - seen) for name in level) > 1:
                return False
            level = {child for name in level for child in children[name]} - seen
            seen |= level
    return True


def test_generated_inventories_and_patterns_mean_the_same() -> None:
    """Every generated inventory has Ansible's groups, hosts and variables, and every pattern and limit its hosts."""
    tally: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        described=st.lists(st.tuples(layered | trees, vars_files, vars_files), min_size=1, max_size=2),
        play_vars=vars_files,
        tried=st.lists(st.tuples(patterns, limits), min_size=PATTERNS_EACH, max_size=PATTERNS_EACH),
    )
    def compare(described: list, play_vars: dict, tried: list) -> None:
        with tempfile.TemporaryDirectory() as folder:
            tally.update(_compare_site(Site(Path(folder), described, play_vars), tried))

    compare()
    assert tally["inventories"] >= 0.6 * EXAMPLES
    assert tally["pairs"] >= min(2000, 5 * EXAMPLES)
    assert tally["with hosts"] >= 0.3 * tally["pairs"]
    assert tally["in order"] >= 0.4 * tally["pairs"]


def _compare_site(site: Site, tried: list[tuple[str, str | None]]) -> Counter[str]:
    """Compare one inventory in all respects; say what was compared."""
    ansible = _ask(site)
    try:
        inventory = load_inventory(site.sources, playbook_folder=site.play)
    except ContentError as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert ansible is None or not ansible.understood or _documented(refused), refused.render()
        return Counter(refused=1)
    assert ansible is not None
    assert ansible.understood
    assert json.loads(json.dumps(inventory_document(inventory))) == ansible.document()
    assert graph_text(inventory) == ansible.graph()
    steady = _steady(inventory)
    tally = Counter(inventories=1)
    for pattern, limit in tried:
        tally.update(_compare(inventory, ansible, pattern, limit, steady=steady))
    return tally


def _ask(site: Site) -> Ansible | None:
    try:
        return Ansible(site)
    except AnsibleError:
        return None


def _documented(error: ContentError) -> bool:
    return all("`ungrouped` cannot hang under" in fault.problem for fault in error.faults)


def _compare(
    inventory: Inventory, ansible: Ansible, pattern: str, limit: str | None, *, steady: bool
) -> Counter[str]:
    """Compare one pattern and limit, strictly and with unmatched terms allowed."""
    tally: Counter[str] = Counter()
    if not steady and "[" in f"{pattern}{limit}":
        return tally
    for mismatch, allowed in (("error", False), ("ignore", True)):
        theirs = ansible.hosts(pattern, limit, mismatch=mismatch)
        ours = _ours(inventory, pattern, limit, allow_unmatched=allowed)
        if not steady:
            ours, theirs = sorted(ours or ()), sorted(theirs or ())
        assert (ours or None) == (theirs or None), (pattern, limit, mismatch)
    return Counter({"pairs": 1, "with hosts": int(bool(ours)), "in order": int(steady)})
