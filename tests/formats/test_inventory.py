"""What `load_inventory` makes of files, folders and lists, and what it refuses, message by message."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from ota.core.inventory import Inventory
from ota.errors import ContentError, MissingFileError, UsageError
from ota.formats.inventory import limit_terms, load_inventory, parse_extra_vars


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, so that messages name files as a person typed them."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str) -> str:
    """Write a file with all folders above it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def load(text: str, **options: object) -> Inventory:
    """Load one inventory file."""
    return load_inventory([write("inventory.yaml", text)], **options)  # type: ignore[arg-type]


def faults(text: str) -> list[str]:
    """Return the messages with which an inventory file is refused."""
    with pytest.raises(ContentError) as caught:
        load(text)
    assert caught.value.exit_code == 65
    return caught.value.render().splitlines()


WRONG = {
    "a list of hosts": (
        "all:\n  hosts:\n    - pi01\n",
        [
            ("inventory.yaml:2:3: 'hosts' of group 'all' must be a mapping, found a list "
            "(write `pi01:` instead of `- pi01`)")
        ],
    ),
    "vars that are a number": (
        "all:\n  vars: 3\n",
        ["inventory.yaml:2:3: 'vars' of group 'all' must be a mapping, found 3 (write the names below `vars:`, each with a colon)"],
    ),
    "a host named by a number": (
        "all:\n  hosts:\n    42:\n",
        ["inventory.yaml:3:5: a host's name must be text, found 42 (put it in quotes)"],
    ),
    "a group named by a truth value": (
        "yes:\n  hosts:\n    pi01:\n",
        ["inventory.yaml:1:1: a group's name must be text, found True (put it in quotes)"],
    ),
    "host variables that are a word": (
        "all:\n  hosts:\n    pi01: word\n",
        ["inventory.yaml:3:5: the variables of host 'pi01' must be a mapping, found 'word' (write `name: value` lines below it)"],
    ),
    "a variable named by a number": (
        "all:\n  hosts:\n    pi01:\n      5: a\n",
        ["inventory.yaml:4:7: a variable's name must be text, found 5 (put it in quotes)"],
    ),
    "a binary value": (
        "all:\n  vars:\n    key: !!binary aGk=\n",
        ["inventory.yaml:3:5: the variable 'key' holds a value of type bytes, which an inventory cannot"],
    ),
    "a value that contains itself": (
        "all:\n  vars:\n    key: &k [*k]\n",
        ["inventory.yaml:3:5: the variable 'key' holds a value that contains itself, which an inventory cannot"],
    ),
    "a value of very many levels": (
        f"all:\n  vars:\n    key: {'[' * 900}{']' * 900}\n",
        ["inventory.yaml:3:5: the variable 'key' holds a value of more than 200 levels, which an inventory cannot"],
    ),
    "a text of more levels than anybody reads": (
        f"all:\n  vars:\n    key: {'[' * 100_000}\n",
        ["inventory.yaml:3:1007: not YAML: exceeded maximum nesting depth"],
    ),
    "a group within very many others": (
        "g:\n" + "".join(f"{' ' * n}children:\n{' ' * (n + 1)}g{n}:\n" for n in range(1, 401, 2)),
        ["inventory.yaml:201:201: the group 'g199' stands within more than 99 others (write its body at the top of the file)"],
    ),
    "an unknown YAML tag": (
        "all:\n  vars:\n    key: !python/object 1\n",
        ["inventory.yaml:3:10: not YAML: could not determine a constructor for the tag '!python/object'"],
    ),
    "broken YAML": (
        "all:\n  hosts:\n    pi01: {a: 1\n",
        ["inventory.yaml:4:1: not YAML: expected ',' or '}', but got '<stream end>'"],
    ),
    "two documents": (
        "all:\n---\nall:\n",
        ["inventory.yaml:2:1: not YAML: but found another document"],
    ),
    "a group within itself": (
        "pis:\n  children:\n    pis:\n",
        [
            ("inventory.yaml:3:5: the groups 'pis' and 'pis' contain each other "
            "(a group cannot be its own child, not even through others)")
        ],
    ),
    "a loop over three groups": (
        "a:\n  children:\n    b:\n      children:\n        c:\n          children:\n            a:\n",
        [
            "inventory.yaml:3:5: the groups 'a' and 'b' contain each other (a group cannot be its own child, not even through others)"
        ],
    ),
    "a priority that is a word": (
        "pis:\n  vars:\n    ansible_group_priority: high\n",
        ["inventory.yaml:3:5: ansible_group_priority of 'pis' must be a whole number, found 'high'"],
    ),
    "ungrouped below another group": (
        "pis:\n  children:\n    ungrouped:\n",
        ["ungrouped: the group `ungrouped` cannot hang under another group than `all`"],
    ),
    "a child that is no group": (
        "all:\n  children:\n    pis: word\n",
        ["inventory.yaml:3:5: 'pis' is no group: expected a mapping of hosts, vars and children, found 'word' (it is passed over)"],
    ),
    "a backward range": (
        "all:\n  hosts:\n    pi[3:1]:\n",
        ["inventory.yaml:3:5: the range [3:1] runs backwards and stands for no host"],
    ),
    "an empty file": ("# nothing\n", ["inventory.yaml: the inventory is empty (`ota init` writes an example)"]),
    "a list": (
        "- pi01: 1\n",
        ["inventory.yaml: an inventory must be a mapping of groups, found a list (begin with `all:` and `hosts:` below it)"],
    ),
    "a dynamic inventory by plugin": (
        "plugin: aws_ec2\nregions: []\n",
        [
            ("inventory.yaml:1:1: the key `plugin` (aws_ec2) makes this a dynamic inventory, which `ota` does not run "
            "(save what it finds as YAML: `ansible-inventory -i inventory.yaml --list --export --yaml`)")
        ],
    ),
    "the output of a dynamic inventory": (
        '{"_meta": {"hostvars": {}}, "all": {"children": ["ungrouped"]}}',
        [
            ("inventory.yaml:1:2: this is the output of a dynamic inventory, not an inventory "
            "(save it with --yaml: `ansible-inventory --list --export --yaml`)")
        ],
    ),
    "an INI inventory": (
        "[pis]\npi01 ansible_host=10.0.0.1\n",
        ["inventory.yaml: an INI inventory, which `ota` does not read (convert it once with `ansible-inventory -i FILE --list --export --yaml`)"],
    ),
    "an INI inventory of bare names": (
        "pi01\npi02\n",
        ["inventory.yaml: an INI inventory, which `ota` does not read (convert it once with `ansible-inventory -i FILE --list --export --yaml`)"],
    ),
    "an encrypted file": (
        "$ANSIBLE_VAULT;1.1;AES256\n6131\n",
        [
            ("inventory.yaml: encrypted by ansible-vault, which `ota` does not decrypt "
            "(write it in clear with `ansible-vault decrypt inventory.yaml`, or keep it out of the inventory)")
        ],
    ),
    "several faults": (
        "all:\n  hosts:\n    42:\n    pi[1:]:\n  vars: []\n  children:\n    a:\n      hosts: 7\n",
        [
            "inventory.yaml:3:5: a host's name must be text, found 42 (put it in quotes)",
            "inventory.yaml:4:5: the range [1:] has no end; an end is never implied",
            "inventory.yaml:5:3: 'vars' of group 'all' must be a mapping, found a list (write the names below `vars:`, each with a colon)",
            "inventory.yaml:8:7: 'hosts' of group 'a' must be a mapping, found 7 (write the names below `hosts:`, each with a colon)",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_inventory_is_refused_with_every_fault(site: Path, name: str) -> None:
    """Each fault is told with file, line and column, and all of them at once."""
    text, expected = WRONG[name]
    assert faults(text) == expected


def test_an_executable_inventory_is_refused_and_not_run(site: Path) -> None:
    """A script is recognised by its first line and its mode, and never started."""
    write("hosts", f"#!/bin/sh\ntouch {site}/was-run\n")
    Path("hosts").chmod(0o755)
    with pytest.raises(
        ContentError, match="an executable file is a dynamic inventory, which `ota` does not run"
    ):
        load_inventory(["hosts"])
    assert not Path("was-run").exists()


def test_an_executable_yaml_file_is_only_a_yaml_file(site: Path) -> None:
    """On file systems where everything is executable a YAML inventory still loads."""
    Path(write("inventory.yaml", "all: {hosts: {pi01: }}")).chmod(0o755)
    assert [host.name for host in load_inventory(["inventory.yaml"]).hosts] == ["pi01"]


@pytest.mark.parametrize("source", ["missing.yaml", ""])
def test_a_missing_inventory_is_refused(site: Path, source: str) -> None:
    """A file that is not there is an error of its own, where Ansible goes on without hosts."""
    with pytest.raises(MissingFileError) as caught:
        load_inventory([source])
    assert caught.value.render() == (
        f"the inventory {source!r} does not exist\n  name a file or folder with -i, or write an example with `ota init`"
    )
    assert caught.value.exit_code == 66


def test_text_that_is_not_utf_8_is_refused(site: Path) -> None:
    """Bytes that are no UTF-8 are named by their position."""
    Path("inventory.yaml").write_bytes(b"all: {vars: {a: \xff}}")
    with pytest.raises(ContentError) as caught:
        load_inventory(["inventory.yaml"])
    assert caught.value.render() == "inventory.yaml: not text in UTF-8: byte 16 cannot be read"


WARNED = {
    "a misspelt key": (
        "all:\n  host:\n    pi01:\n",
        ["inventory.yaml:2:3: the key 'host' of group 'all' is passed over (did you mean 'hosts'?)"],
    ),
    "a top level that is no group": (
        "version: 1\nall: {hosts: {pi01: }}\n",
        ["inventory.yaml:1:1: 'version' is no group: expected a mapping of hosts, vars and children, found 1 (it is passed over)"],
    ),
    "a key twice": (
        "all:\n  hosts:\n    pi01: {a: 1}\n    pi01: {a: 2}\n",
        ["inventory.yaml:4:5: the key 'pi01' stands here again; the last one counts"],
    ),
    "a host and a group of one name": (
        "pi01: {hosts: {pi01: }}\n",
        ["pi01: a host and a group have the same name, so the host's variables go to the group"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNED)
def test_what_ansible_warns_of_is_a_warning(site: Path, name: str) -> None:
    """What Ansible passes over with a warning is passed over here, and the warning is kept."""
    text, expected = WARNED[name]
    assert [fault.render() for fault in load(text).warnings] == expected


def test_later_keys_win_and_places_follow(site: Path) -> None:
    """A variable's place is where its winning value stands."""
    host = load("all:\n  vars:\n    a: 1\n  hosts:\n    pi01:\n      a: 2\n").host("pi01")
    assert host.variables["a"] == 2
    assert (host.places["a"].file, host.places["a"].line, host.places["a"].column) == ("inventory.yaml", 6, 7)


PRECEDENCE = [
    ("inline all", "all: {vars: {v: inline all}, hosts: {pi01: }}", {}, None),
    ("inline group", "all: {vars: {v: inline all}, children: {pis: {vars: {v: inline group}, hosts: {pi01: }}}}", {}, None),
    ("file all", "pis: {vars: {v: inline group}, hosts: {pi01: }}", {"group_vars/all.yml": "file all"}, None),
    (
        "file group",
        "pis: {vars: {v: inline group}, hosts: {pi01: }}",
        {"group_vars/all.yml": "file all", "group_vars/pis": "file group"},
        None,
    ),
    (
        "inline host",
        "pis: {hosts: {pi01: {v: inline host}}}",
        {"group_vars/all.yml": "file all", "group_vars/pis.json": "file group"},
        None,
    ),
    (
        "file host",
        "pis: {hosts: {pi01: {v: inline host}}}",
        {"group_vars/pis.yaml": "file group", "host_vars/pi01/one.yml": "file host"},
        None,
    ),
    ("extra", "pis: {hosts: {pi01: {v: inline host}}}", {"host_vars/pi01.yml": "file host"}, {"v": "extra"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("winner", "text", "files", "extra"), PRECEDENCE, ids=[case[0] for case in PRECEDENCE]
)
def test_precedence(
    site: Path, winner: str, text: str, files: dict[str, str], extra: dict[str, str] | None
) -> None:
    """Every layer wins over all below it, as in Ansible."""
    for path, value in files.items():
        write(path, f'{{"v": "{value}"}}')
    assert load(text, extra_vars=extra).host("pi01").variables["v"] == winner


FILES = [
    ("the name without an ending", ["pis", "pis.yml"], "pis"),
    (".yml before .yaml", ["pis.yml", "pis.yaml"], "pis.yml"),
    (".yaml before .json", ["pis.yaml", "pis.json"], "pis.yaml"),
    ("a folder before a file", ["pis/a.yml", "pis.yml"], "pis/a.yml"),
    ("sorted within a folder", ["pis/b.yml", "pis/a.yml"], "pis/b.yml"),
    ("folders within a folder", ["pis/a.yml", "pis/b/c.yml"], "pis/b/c.yml"),
    ("a folder with an ending is none", ["pis/a.yml", "pis/b.d/c.yml"], "pis/a.yml"),
    ("other endings do not count", ["pis/a.yml", "pis/b.ini", "pis/.c.yml", "pis/d.yml~"], "pis/a.yml"),
]


@pytest.mark.parametrize(("name", "paths", "winner"), FILES, ids=[case[0] for case in FILES])
def test_which_file_of_variables_counts(site: Path, name: str, paths: list[str], winner: str) -> None:
    """The first of NAME, NAME.yml, NAME.yaml, NAME.json counts; a folder is read with all below it."""
    for path in paths:
        write(f"group_vars/{path}", f"v: {path}")
    assert load("pis: {hosts: {pi01: }}").host("pi01").variables["v"] == winner


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "group_vars/pis.yml: a file of variables must be a mapping, found a list"),
        ("a: [\n", "group_vars/pis.yml:2:1: not YAML: expected the node content, but found '<stream end>'"),
        ("1: a\n", "group_vars/pis.yml:1:1: a variable's name must be text, found 1 (put it in quotes)"),
        (
            "$ANSIBLE_VAULT;1.1;AES256\n61\n",
            (
                "group_vars/pis.yml: encrypted by ansible-vault, which `ota` does not decrypt (write it in clear with "
                "`ansible-vault decrypt group_vars/pis.yml`, or keep it out of the inventory)"
            ),
        ),
    ],
)
def test_a_wrong_file_of_variables_is_refused(site: Path, text: str, message: str) -> None:
    """A file of variables that is used is held to the same rules; the message names it as it was reached."""
    write("group_vars/pis.yml", text)
    write("group_vars/unused.yml", "$ANSIBLE_VAULT;1.1;AES256\n61\n")
    assert faults("pis: {hosts: {pi01: }}") == [message]


def test_a_folder_is_read_in_order_without_what_does_not_count(site: Path) -> None:
    """A folder's files merge in ASCII order, with the folders below it, without hidden and backup files."""
    write("fleet/2.yml", "all: {hosts: {pi01: {v: 2}}}")
    write("fleet/10.yml", "all: {hosts: {pi01: {v: 10}, pi02: }}")
    write("fleet/sub/3", "all: {hosts: {pi03: {v: 3}}}")
    write("fleet/group_vars/all.yml", "w: 1")
    for ignored in (
        ".hidden",
        "old.bak",
        "x.yml~",
        "ansible.cfg",
        "README.md",
        "hosts.retry",
        "vars_plugins",
    ):
        write(f"fleet/{ignored}", "not: [an inventory")
    inventory = load_inventory(["fleet"])
    assert [(host.name, host.variables.get("v"), host.variables["w"]) for host in inventory.hosts] == [
        ("pi01", 2, 1),
        ("pi02", None, 1),
        ("pi03", 3, 1),
    ]


def test_a_file_in_a_folder_that_is_no_yaml_inventory_is_refused(site: Path) -> None:
    """Ansible only warns of a file that it cannot parse; a host in it would be missed silently."""
    write("fleet/1.yml", "all: {hosts: {pi01: }}")
    write("fleet/more.ini", "[pis]\npi02\n")
    with pytest.raises(ContentError, match=r"fleet/more.ini: a file ending in .ini is not a YAML inventory"):
        load_inventory(["fleet"])
    write("empty/.keep", "")
    with pytest.raises(ContentError, match="empty: the folder holds no inventory"):
        load_inventory(["empty"])


def test_sources_merge_in_order_and_the_folder_counts_before_the_depth(site: Path) -> None:
    """A later source wins, even a shallow group's file of it over a deep group's file of an earlier one."""
    write("one/inventory.yml", "top: {children: {deep: {hosts: {pi01: {a: one, b: one}}}}}")
    write("one/group_vars/deep.yml", "g: one/deep")
    write("two/inventory.yml", "all: {hosts: {pi01: {a: two}}}")
    write("two/group_vars/top.yml", "g: two/top")
    host = load_inventory(["one/inventory.yml", "two/inventory.yml"]).host("pi01")
    assert (host.variables["a"], host.variables["b"], host.variables["g"]) == ("two", "one", "two/top")


def test_a_list_of_hosts_is_an_inventory(site: Path) -> None:
    """Text with a comma that is no file is a list; a port follows a colon; known hosts are left as they are."""
    inventory = load_inventory(["pi01, pi02:2222,[2001:db8::1]:22,", "pi01:9,"])
    assert [(host.name, host.variables.get("ansible_port"), host.groups) for host in inventory.hosts] == [
        ("pi01", None, ("ungrouped",)),
        ("pi02", 2222, ("ungrouped",)),
        ("2001:db8::1", 22, ("ungrouped",)),
    ]
    with pytest.raises(ContentError, match=r"'pi\[1:3\]' is a range, which a list of hosts cannot hold"):
        load_inventory(["pi[1:3],"])


def test_values_are_read_as_ansible_reads_them(site: Path) -> None:
    """YAML 1.1 scalars, dates as text, tags as mappings of one key, and all of it read-only."""
    host = load(
        """
        all:
          vars: {yes1: yes, oct: 010, quoted: "22", hex: 0x1f, when: 2024-01-02, exp: 1e3, none: ~, set: !!set {b, a}}
          hosts:
            pi01: {jinja: "{{ x }}", plain: !unsafe "{{ x }}", secret: !vault "$ANSIBLE_VAULT;1.1;AES256", deep: {l: [1, {m: 2}], 3: x}}
        """
    ).host("pi01")
    read = dict(host.variables)
    assert [read[name] for name in ("yes1", "oct", "quoted", "hex", "when", "exp", "none", "set")] == [
        True, 8, "22", 31, "2024-01-02", "1e3", None, ("a", "b"),
    ]  # fmt: skip
    assert read["jinja"] == "{{ x }}"
    assert read["plain"] == {"__ansible_unsafe": "{{ x }}"}
    assert read["secret"] == {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256"}
    assert read["deep"] == {"l": (1, {"m": 2}), "3": "x"}
    with pytest.raises(TypeError):
        host.variables["deep"]["l"] = ()  # type: ignore[index]


LIMITS = [
    ("pi01,pi02", ("pi01", "pi02")),
    ("@hosts.txt", ("pi01", "pi*[0:1]")),
    (" cam , @hosts.txt,!pi02", ("cam", "pi01", "pi*[0:1]", "!pi02")),
    ("pis:&lab", ("pis", "&lab")),
]


@pytest.mark.parametrize(("limit", "terms"), LIMITS)
def test_limit_terms_come_from_text_and_files(site: Path, limit: str, terms: tuple[str, ...]) -> None:
    """A file stands for its lines, one term each, blank ones dropped."""
    write("hosts.txt", "pi01\n\n  pi*[0:1]  \n")
    assert limit_terms(limit) == terms


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        ("", UsageError, "--limit is empty: found ''\n  leave --limit out where every host is meant"),
        (",", UsageError, "--limit is empty: found ','\n  leave --limit out where every host is meant"),
        ("@empty", UsageError, "the file 'empty' of --limit is empty\n  write one host or pattern a line"),
        ("@missing", MissingFileError, "the file 'missing' of --limit cannot be read: found nothing there"),
        ("@folder", MissingFileError, "the file 'folder' of --limit cannot be read: found a folder"),
    ],
)
def test_an_empty_limit_never_means_every_host(
    site: Path, limit: str, error: type[Exception], message: str
) -> None:
    """Ansible takes the first three for every host; here each is an error."""
    write("empty", "\n \n")
    Path("folder").mkdir()
    with pytest.raises(error) as caught:
        limit_terms(limit)
    assert str(caught.value) == message


def test_extra_vars_come_as_pairs_yaml_and_files(site: Path) -> None:
    """Pairs are text, YAML and files have types, and later ones win."""
    write("more.yml", "c: [1]\nd: 2\n")
    assert parse_extra_vars(["a=1 b='x y'", "{b: 3}", "@more.yml", "d=4"]) == {
        "a": "1",
        "b": 3,
        "c": (1,),
        "d": "4",
    }
    assert load("all: {hosts: {pi01: }}", extra_vars=parse_extra_vars(["{l: [1, {m: 2}]}"])).host(
        "pi01"
    ).variables["l"] == (
        1,
        {"m": 2},
    )


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ("word", UsageError, "-e 'word' sets nothing: expected name=value"),
        (
            "./x.yml",
            UsageError,
            "-e './x.yml' sets nothing: expected name=value\n  put an @ before the name of a file: -e @./x.yml",
        ),
        ("a='x", UsageError, '-e "a=\'x" cannot be read: found No closing quotation'),
        ("{a", ContentError, "-e:1:3: not YAML: expected ',' or '}', but got '<stream end>'"),
        ("@list.yml", ContentError, "list.yml: extra variables must be a mapping of names to values"),
        ("@missing.yml", MissingFileError, "missing.yml cannot be read: found No such file or directory"),
    ],
)
def test_wrong_extra_vars_are_refused(site: Path, option: str, error: type[Exception], message: str) -> None:
    """What sets nothing is an error, with the likely slip named."""
    write("list.yml", "- a\n")
    with pytest.raises(error) as caught:
        parse_extra_vars([option])
    assert str(caught.value) == message


def test_variables_beside_the_playbook_win_over_those_beside_the_inventory(site: Path) -> None:
    """As with ansible-playbook, group_vars/ of the playbook's folder come last."""
    write("group_vars/all.yml", "v: inventory\nw: inventory")
    write("playbooks/group_vars/all.yml", "v: playbook")
    host = load("all: {hosts: {pi01: }}", playbook_folder=Path("playbooks")).host("pi01")
    assert (host.variables["v"], host.variables["w"]) == ("playbook", "inventory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_cannot_be_read_is_refused(site: Path) -> None:
    """A file without permission is as good as missing."""
    Path(write("inventory.yaml", "all:")).chmod(0)
    with pytest.raises(MissingFileError, match=r"inventory\.yaml cannot be read: found Permission denied"):
        load_inventory(["inventory.yaml"])
