"""The inventory against Ansible's own programs: printed documents, host lists, and a literal table of what deliberately differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ota.errors import OtaError
from ota.formats.inventory import limit_terms, load_inventory
from ota.report.inventory_text import graph_text, host_document, inventory_document

pytestmark = pytest.mark.skipif(
    tuple(int(part) for part in version("ansible-core").split(".")[:2]) < (2, 19),
    reason="older ansible-core prints another shape; 2.19 needs Python 3.11",
)

SCRIPTS = Path(sys.executable).parent

FLEET = """
all:
  vars: {ota_root: /srv/ota, when: 2024-01-02}
  hosts:
    solo:
  children:
    pis:
      hosts:
        pi[01:03]:
          ansible_user: pi
        cam.lan:2222:
      vars: {ansible_group_priority: 5, colour: rot, note: "{{ x }}", literal: !unsafe "{{ x }}"}
      children:
        lab:
          hosts:
            "[2001:db8::1]:22":
            pi02: {ansible_password: !vault "$ANSIBLE_VAULT;1.1;AES256"}
    empty:
    cams:
      hosts: cam.lan
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an inventory and its files of variables, to stand in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inventory.yaml").write_text(FLEET, encoding="utf-8")
    for path, text in (
        ("group_vars/all.yml", "colour: grün\nlist: [1, {a: 2}]\n"),
        ("group_vars/lab/one.yml", "colour: blau\n"),
        ("host_vars/pi03", "colour: weiß\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def run(site: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs without any configuration of this machine's."""
    config = site / "ansible.cfg"
    config.touch()
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOME": str(site / "home"),
        "LC_ALL": "C.UTF-8",
    }
    return subprocess.run(
        [sys.executable, SCRIPTS / program, *arguments],
        cwd=site, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_documents_and_the_graph_are_those_of_ansible_inventory(site: Path) -> None:
    """--list, --list with a limit, --host and --graph print the same documents and the same text."""
    inventory = load_inventory(["inventory.yaml"])
    listed = run(site, "ansible-inventory", "-i", "inventory.yaml", "--list")
    assert inventory_document(inventory) == json.loads(listed.stdout)
    limited = run(site, "ansible-inventory", "-i", "inventory.yaml", "--list", "--limit", "pis:!lab")
    assert inventory_document(inventory, inventory.select(limit="pis:!lab")) == json.loads(limited.stdout)
    shown = run(site, "ansible-inventory", "-i", "inventory.yaml", "--host", "pi02")
    assert host_document(inventory.host("pi02")) == json.loads(shown.stdout)
    graph = run(site, "ansible-inventory", "-i", "inventory.yaml", "--graph")
    assert graph_text(inventory) == graph.stdout.rstrip("\n")
    part = run(site, "ansible-inventory", "-i", "inventory.yaml", "--graph", "pis")
    assert graph_text(inventory, "pis") == part.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("pattern", "limit"), [("all", "@hosts.txt"), ("pis", "all:!cams:!pi01"), ("pi*[1:2]", None)]
)
def test_the_listed_hosts_are_those_of_ansible(site: Path, pattern: str, limit: str | None) -> None:
    """`ansible PATTERN --limit LIMIT --list-hosts` names the same hosts in the same order."""
    (site / "hosts.txt").write_text("cam.lan\npi0[2:3]\npi02\n~20.*\n", encoding="utf-8")
    options = [] if limit is None else ["--limit", limit]
    listed = run(site, "ansible", pattern, "-i", "inventory.yaml", *options, "--list-hosts")
    terms = None if limit is None else limit_terms(limit)
    chosen = load_inventory(["inventory.yaml"]).select(pattern, limit=terms, allow_unmatched=True)
    assert [host.name for host in chosen] == [line.strip() for line in listed.stdout.splitlines()[1:]]


DIFFERENCES: list[tuple[str, dict[str, str], list[str], str | None, list[str]]] = [
    # (what, files beside inventory.yaml, sources, limit, the hosts that Ansible goes on with); `ota` refuses each.
    ("an empty limit is every host", {}, ["inventory.yaml"], "", ["solo", "pi01"]),
    ("a limit of commas is every host", {}, ["inventory.yaml"], ",", ["solo", "pi01"]),
    ("an empty limit file is every host", {"empty": "\n"}, ["inventory.yaml"], "@empty", ["solo", "pi01"]),
    ("an unmatched term is passed over", {}, ["inventory.yaml"], "pi01,typo", ["pi01"]),
    ("a missing inventory is none", {}, ["inventory.yaml", "missing.yaml"], None, ["solo", "pi01"]),
    ("an inventory that cannot be read is none", {"bad.yaml": "all: ["}, ["inventory.yaml", "bad.yaml"], None, ["solo", "pi01"]),
    (
        "an inventory is read up to its fault",
        {"half.yaml": "all: {hosts: {new: }}\npis: {hosts: [x]}"},
        ["inventory.yaml", "half.yaml"],
        None,
        ["solo", "new", "pi01"],
    ),
    ("a backward range is no host", {"r.yaml": "all: {hosts: {'n[3:1]': }}"}, ["inventory.yaml", "r.yaml"], None, ["solo", "pi01"]),
    ("a negative step stops early", {"r.yaml": "all: {hosts: {'n[3:1:-1]': }}"}, ["r.yaml"], None, ["n3"]),
    ("a range end of several letters is its first place", {"r.yaml": "all: {hosts: {'n[ab:c]': }}"}, ["r.yaml"], None, ["na", "nb", "nc"]),
    ("a range in a literal list is a name", {}, ["n[1:3],"], None, ["n[1:3]"]),
    ("an INI inventory is read", {"hosts": "[pis]\npi09\n"}, ["hosts"], None, ["pi09"]),
    ("a numeric variable name is kept", {"n.yaml": "all: {hosts: {a: {5: x}}}"}, ["n.yaml"], None, ["a"]),
    (
        "ungrouped below another group loses its hosts",
        {"u.yaml": "g: {hosts: {a: }, children: {ungrouped: {hosts: {b: }}}}"},
        ["u.yaml"],
        None,
        ["a"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "files", "sources", "limit", "hosts"), DIFFERENCES, ids=[case[0] for case in DIFFERENCES]
)
def test_what_deliberately_differs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    files: dict[str, str],
    sources: list[str],
    limit: str | None,
    hosts: list[str],
) -> None:
    """Ansible goes on with the hosts named in the table; `ota` refuses, so that nobody updates the wrong devices."""
    monkeypatch.chdir(tmp_path)
    for name, text in (
        {"inventory.yaml": "all: {hosts: {solo: }}\npis: {hosts: {pi01: }}\n"} | files
    ).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    options = [part for source in sources for part in ("-i", source)] + (
        [] if limit is None else ["--limit", limit]
    )
    listed = run(tmp_path, "ansible", "all", *options, "--list-hosts")
    assert [line.strip() for line in listed.stdout.splitlines()[1:]] == hosts
    with pytest.raises(OtaError) as caught:
        load_inventory(sources).select(limit=None if limit is None else limit_terms(limit))
    assert caught.value.exit_code in {64, 65, 66}
