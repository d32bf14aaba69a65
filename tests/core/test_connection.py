"""How a host is reached: every variable that counts, every alias, every argument for ssh, and what is refused."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from ota.core.connection import OTA_VARIABLES, Connection, connection_of, password_of
from ota.core.inventory import Host, Place, Value
from ota.errors import ContentError

VAULT: Value = MappingProxyType({"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n61"})


def host(**variables: Value) -> Host:
    """A host whose variables all stand in line 7 of inventory.yaml."""
    place = Place(file="inventory.yaml", line=7, column=5)
    return Host(
        name="pi01",
        variables=MappingProxyType(variables),
        places=MappingProxyType(dict.fromkeys(variables, place)),
    )


def ssh(**fields: object) -> Connection:
    """The connection of a host without variables, with these fields instead."""
    return Connection(**({"kind": "ssh", "address": "pi01"} | fields))  # type: ignore[arg-type]


READ: dict[str, tuple[dict[str, Value], Connection]] = {
    "nothing": ({}, ssh()),
    "the usual": (
        {"ansible_host": "10.0.0.1", "ansible_port": 2222, "ansible_user": "pi", "ansible_private_key_file": "~/.ssh/pi"},
        ssh(address="10.0.0.1", port=2222, user="pi", private_key_files=("~/.ssh/pi",)),
    ),
    "a port as text": ({"ansible_port": "22"}, ssh(port=22)),
    "a user as a number": ({"ansible_user": 1000}, ssh(user="1000")),
    "nulls": ({"ansible_host": None, "ansible_ssh_port": None, "ansible_port": 5}, ssh(port=5)),
    "older names win": (
        {
            "ansible_host": "new", "ansible_ssh_host": "old", "ansible_user": "new", "ansible_ssh_user": "old", "ansible_port": 1,
            "ansible_ssh_port": 2, "ansible_private_key_file": "new", "ansible_ssh_private_key_file": "old", "ansible_timeout": 3,
            "ansible_ssh_timeout": 4,
        },
        ssh(address="old", user="old", port=2, private_key_files=("old",), connect_timeout_s=4.0),
    ),
    "retries": ({"ansible_ssh_retries": 3}, ssh(retries=3)),
    "no host key checking": ({"ansible_host_key_checking": False}, ssh(host_key_checking=False)),
    "no host key checking as text": ({"ansible_ssh_host_key_checking": "no"}, ssh(host_key_checking=False)),
    "local": ({"ansible_connection": "local", "ansible_port": "any"}, Connection(kind="local", address="localhost")),
    "ssh by its long name": ({"ansible_connection": "ansible.builtin.ssh"}, ssh()),
    "python": ({"ansible_python_interpreter": "/usr/bin/python3.11"}, ssh(python_interpreter="/usr/bin/python3.11")),
    "python to be found": ({"ansible_python_interpreter": "auto_silent"}, ssh()),
    "python by env": ({"ansible_python_interpreter": "/usr/bin/env python3"}, ssh(python_interpreter="python3")),
    "become": (
        {"ansible_become": True, "ansible_become_user": "model", "ansible_become_method": "sudo", "ansible_become_flags": "-H -n"},
        ssh(become=True, become_user="model"),
    ),
    "become password where nobody becomes": ({"ansible_become_password": VAULT}, ssh()),
    "a literal password": ({"ansible_password": "secret"}, ssh(password_source="inventory")),
    "a password source": ({"ota_password_source": "env:PI_PASSWORD"}, ssh(password_source="env:PI_PASSWORD")),
    "a prompt": ({"ota_password_source": "prompt"}, ssh(password_source="prompt")),
    "the root": ({"ota_root": "/srv/model"}, ssh(ota_root="/srv/model")),
    "one runtime": ({"ota_runtime": "tflite-runtime"}, ssh(ota_runtime=("tflite-runtime",))),
    "runtimes": ({"ota_runtime": ("ai-edge-litert", "tflite-runtime")}, ssh(ota_runtime=("ai-edge-litert", "tflite-runtime"))),
    "a jump": ({"ansible_ssh_common_args": "-o ProxyJump=ops@bastion:2022"}, ssh(proxy_jump="ops@bastion:2022")),
    "a jump by flag": ({"ansible_ssh_common_args": "-J a,b"}, ssh(proxy_jump="a,b")),
    "a proxy command": (
        {"ansible_ssh_common_args": "-o ProxyCommand='ssh -W %h:%p -q bastion'"},
        ssh(proxy_command="ssh -W %h:%p -q bastion"),
    ),
    "no proxy": ({"ansible_ssh_extra_args": "-o ProxyCommand=none -o ProxyJump=none"}, ssh()),
    "every option": (
        {
            "ansible_ssh_extra_args": "-C -F ~/lab_config -i k1 -ik2 -oConnectTimeout=7 -o ConnectionAttempts=3 -o 'ServerAliveInterval 15' "
            "-o HostKeyAlias=pi -o identitiesonly=yes -o HostName=10.9.9.9 -l pi -p2200"
        },
        ssh(
            compression=True, ssh_config_file="~/lab_config", private_key_files=("k1", "k2"), connect_timeout_s=7.0, retries=2,
            keepalive_s=15, host_key_alias="pi", identities_only=True, address="10.9.9.9", user="pi", port=2200,
        ),
    ),
    "options without effect": (
        {"ansible_ssh_args": "-C -o ControlMaster=auto -o ControlPersist=60s -qvvv -tt -o ForwardAgent=no"},
        ssh(compression=True),
    ),
    "ssh_args win over variables, those over common_args": (
        {"ansible_ssh_args": "-p 1 -i first", "ansible_port": 2, "ansible_user": "v", "ansible_private_key_file": "second",
         "ansible_ssh_common_args": "-p 3 -l c -i third -o HostName=c", "ansible_ssh_extra_args": "-o HostName=e -i first"},
        ssh(port=1, user="v", private_key_files=("first", "second", "third"), address="c"),
    ),
    "known hosts": (
        {"ansible_ssh_common_args": "-o 'UserKnownHostsFile=known_hosts ~/.ssh/lab_hosts' -o StrictHostKeyChecking=yes"},
        ssh(known_hosts_files=("known_hosts", "~/.ssh/lab_hosts")),
    ),
    "no checking and no known hosts": (
        {"ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"},
        ssh(host_key_checking=False),
    ),
    "new keys accepted means asked for": ({"ansible_ssh_extra_args": "-o StrictHostKeyChecking=accept-new"}, ssh()),
    "an unsafe string is literal": ({"ansible_user": MappingProxyType({"__ansible_unsafe": "{{x}}"})}, ssh(user="{{x}}")),
    "other variables may hold anything": ({"app_key": VAULT, "url": "{{ x }}", "ansible_facts_of_ours": ()}, ssh()),
    "settings of Ansible's own transport": ({"ansible_ssh_pipelining": True, "ansible_pipelining": True, "ansible_ssh_use_tty": False}, ssh()),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_connection_is_read(name: str) -> None:
    """Every honoured variable and argument ends in its field, and in no other."""
    variables, expected = READ[name]
    assert connection_of(host(**variables)) == expected


AT = "inventory.yaml:7:5: "
JINJA = "of host 'pi01' is a Jinja expression, which `ota` does not evaluate"
REFUSED: dict[str, tuple[dict[str, Value], list[str]]] = {
    "jinja": ({"ansible_host": "{{ ip }}"}, [f"ansible_host {JINJA} (write the value itself, or pass it with -e)"]),
    "jinja in arguments": (
        {"ansible_ssh_common_args": "-J {{ bastion }}"},
        [f"ansible_ssh_common_args {JINJA} (write the value itself, or pass it with -e)"],
    ),
    "jinja for a password": (
        {"ansible_password": "{{ lookup('env', 'PI_PASSWORD') }}"},
        [f"ansible_password {JINJA} (write `ota_password_source: env:PI_PASSWORD` instead)"],
    ),
    "vault": (
        {"ansible_password": VAULT},
        [
            ("ansible_password of host 'pi01' is encrypted by ansible-vault, which `ota` does not decrypt "
            "(write it in clear, or take a password from a prompt or the environment: ota_password_source)")
        ],
    ),
    "ports": (
        {"ansible_port": 70000},
        ["ansible_port of host 'pi01' must be a port from 1 to 65535, found '70000'"],
    ),
    "a port that is no number": ({"ansible_port": True}, ["ansible_port of host 'pi01' must be text or a whole number"]),
    "a user of two words": (
        {"ansible_user": "pi pi"},
        ["ansible_user of host 'pi01' must be one word that does not begin with a hyphen, found 'pi pi'"],
    ),
    "an address that is an option": (
        {"ansible_host": "-oProxyCommand=x"},
        ["ansible_host of host 'pi01' must be one word that does not begin with a hyphen, found '-oProxyCommand=x'"],
    ),
    "another connection": ({"ansible_connection": "docker"}, ["ansible_connection of host 'pi01' must be ssh or local, found 'docker'"]),
    "another way to become": (
        {"ansible_become": "yes", "ansible_become_method": "su", "ansible_become_flags": "-E", "ansible_become_password": VAULT},
        [
            "ansible_become_method of host 'pi01' must be sudo, found 'su'",
            "ansible_become_flags of host 'pi01' holds -E, which is not honoured",
            ("ansible_become_password of host 'pi01' is not honoured: `ota` runs `sudo -n`, without a password "
            "(allow the user NOPASSWD in sudoers, and remove the variable)"),
        ],
    ),
    "a truth value": ({"ansible_become": "maybe"}, ["ansible_become of host 'pi01' must be true or false, found 'maybe'"]),
    "python": (
        {"ansible_python_interpreter": "/usr/bin/env -S python3"},
        ["ansible_python_interpreter of host 'pi01' must be the path of a Python interpreter, or auto, found '/usr/bin/env -S python3'"],
    ),
    "ota's own": (
        {"ota_runtimes": "x", "ota_zzz": 1},
        [
            "ota_runtimes of host 'pi01' is not a variable of `ota` (did you mean ota_runtime?)",
            "ota_zzz of host 'pi01' is not a variable of `ota` (those are ota_root, ota_runtime, ota_boot_hook, ota_site, ota_password_source)",
        ],
    ),
    "a root that is no path": (
        {"ota_root": "models"},
        ["ota_root of host 'pi01' must be an absolute path of a folder, or one below ~/, found 'models'"],
    ),
    "a root that climbs": (
        {"ota_root": "~/a/../.."},
        ["ota_root of host 'pi01' must be an absolute path of a folder, or one below ~/, found '~/a/../..'"],
    ),
    "a password source": (
        {"ota_password_source": "secret"},
        ["ota_password_source of host 'pi01' must be prompt, or env: and the name of an environment variable, found 'secret'"],
    ),
    "a runtime that is a mapping": (
        {"ota_runtime": MappingProxyType({"a": 1})},
        ["ota_runtime of host 'pi01' must be text or a whole number"],
    ),
    "a misspelt variable": (
        {"ansible_ssh_prot": 22},
        ["ansible_ssh_prot of host 'pi01' is not a connection variable (did you mean ansible_ssh_port?)"],
    ),
    "a key in the inventory": (
        {"ansible_private_key": "x"},
        ["ansible_private_key of host 'pi01' is not honoured (write the key to a file and name it in ansible_private_key_file)"],
    ),
    "an unknown option": (
        {"ansible_ssh_common_args": "-o Prot=1"},
        ["ansible_ssh_common_args of host 'pi01' cannot be honoured: the option Prot of ssh is not honoured (did you mean Port?)"],
    ),
    "an option that would weaken": (
        {"ansible_ssh_extra_args": "-o ForwardAgent=yes"},
        ["ansible_ssh_extra_args of host 'pi01' cannot be honoured: the option ForwardAgent=yes of ssh is not honoured (only `no` is)"],
    ),
    "an unknown flag": (
        {"ansible_ssh_args": "-C4"},
        ["ansible_ssh_args of host 'pi01' cannot be honoured: the option -4 of ssh is not honoured (remove it, or set it in a file named with -F)"],
    ),
    "a word": (
        {"ansible_ssh_args": "bastion"},
        ["ansible_ssh_args of host 'pi01' cannot be honoured: 'bastion' is not an option of ssh (the host and command are not written here)"],
    ),
    "an option without a value": (
        {"ansible_ssh_args": "-o"},
        ["ansible_ssh_args of host 'pi01' cannot be honoured: the option -o has no value"],
    ),
    "an assignment of nothing": (
        {"ansible_ssh_args": "-o Port"},
        ["ansible_ssh_args of host 'pi01' cannot be honoured: -o 'Port' sets nothing (write it as -o Name=value)"],
    ),
    "quotes": (
        {"ansible_ssh_args": "-o 'Port=1"},
        ["ansible_ssh_args of host 'pi01' cannot be honoured: the quotes in \"-o 'Port=1\" do not match"],
    ),
    "a value of an option": (
        {"ansible_ssh_args": "-o ConnectTimeout=none -o Compression=maybe"},
        [
            "ansible_ssh_args of host 'pi01' sets connecttimeout to 'none', which must be a whole number from 1",
            "ansible_ssh_args of host 'pi01' sets compression to 'maybe', which must be yes or no",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_connection_is_refused(name: str) -> None:
    """Every fault names its place, the variable and the host, and all of a host are told at once."""
    variables, expected = REFUSED[name]
    with pytest.raises(ContentError) as caught:
        connection_of(host(**variables))
    assert caught.value.render().splitlines() == [AT + line for line in expected]


def test_a_password_stays_out_of_the_connection() -> None:
    """The password in clear comes from its own function; neither the connection nor a message shows it."""
    spoken = host(ansible_password="low", ansible_ssh_pass="high", ansible_user="a b")
    assert password_of(spoken) == "high"
    assert password_of(host()) is None
    assert "high" not in repr(connection_of(host(ansible_ssh_pass="high")))
    with pytest.raises(ContentError) as caught:
        connection_of(spoken)
    assert "high" not in caught.value.render()


def test_every_own_variable_is_explained() -> None:
    """The table of ota's own variables, from which the documentation is made, has a sentence for each."""
    assert all(name.startswith("ota_") and summary for name, summary in OTA_VARIABLES)


def test_a_variable_without_a_place_names_the_host() -> None:
    """Where no file is known the host stands in its place."""
    with pytest.raises(ContentError) as caught:
        connection_of(Host(name="pi01", variables={"ansible_port": "x"}))
    assert (
        caught.value.render() == "pi01: ansible_port of host 'pi01' must be a port from 1 to 65535, found 'x'"
    )
