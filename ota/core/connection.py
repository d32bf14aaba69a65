"""How the controller reaches a host, from the host's variables: Ansible's connection variables and ota's own.

Rules: the older `ansible_ssh_*` names win over the newer ones, as in Ansible; `ansible_ssh_args` wins over the variables, those over
`ansible_ssh_common_args` and `ansible_ssh_extra_args`, as on the command line that Ansible builds. What is not honoured is an error. No
password enters a Connection. Host keys are always checked: where the inventory asks for no checking, an unknown key is
refused all the same, with the command that records it.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from ota.core.host_variables import HostVariables
from ota.core.inventory import Host
from ota.core.ssh_options import SshOptions, count, network_port, positive_number, single_word
from ota.errors import ContentError

ADDRESS = ("ansible_host", "ansible_ssh_host")
PORT = ("ansible_port", "ansible_ssh_port")
USER = ("ansible_user", "ansible_ssh_user")
PASSWORD = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
KEY_FILE = ("ansible_private_key_file", "ansible_ssh_private_key_file")
TIMEOUT = ("ansible_timeout", "ansible_ssh_timeout")
HOST_KEY_CHECKING = ("ansible_host_key_checking", "ansible_ssh_host_key_checking")
BECOME_USER = ("ansible_become_user", "ansible_sudo_user")
BECOME_FLAGS = ("ansible_become_flags", "ansible_sudo_flags")
BECOME_EXE = ("ansible_become_exe", "ansible_sudo_exe")
BECOME_PASSWORD = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")

OTA_VARIABLES: tuple[tuple[str, str], ...] = (
    ("ota_root", "the folder on the device that holds releases and runtimes"),
    ("ota_runtime", "the runtime, or a list of them in order of preference"),
    (
        "ota_boot_hook",
        "what leaves an unconfirmed release after a restart: auto, systemd, systemd-user, cron or none",
    ),
    ("ota_site", "with --executor dask: the name of the site whose workers reach it"),
    ("ota_password_source", "where the SSH password comes from: prompt, or env:NAME"),
)
"""The inventory variables that belong to `ota`, with what they say; any other name that begins with ota_ is an error."""

BOOT_HOOKS = ("auto", "systemd", "systemd-user", "cron", "none")

_SSH_KINDS = frozenset(("ssh", "smart", "paramiko", "paramiko_ssh"))
_AUTO_PYTHON = frozenset(("auto", "auto_legacy", "auto_silent", "auto_legacy_silent"))
_SUDO_FLAGS = frozenset(("-H", "-S", "-n", "--set-home", "--stdin", "--non-interactive"))
_NO_EFFECT = frozenset(
    f"ansible_ssh_{name}"
    for name in ("pipelining", "transfer_method", "use_tty", "verbosity", "password_mechanism")
)
_REFUSED = {
    **dict.fromkeys(
        ("ansible_private_key", "ansible_ssh_private_key"),
        "write the key to a file and name it in ansible_private_key_file",
    ),
    **dict.fromkeys(
        ("ansible_private_key_passphrase", "ansible_ssh_private_key_passphrase"),
        "load the key into ssh-agent",
    ),
    "ansible_ssh_pkcs11_provider": "load the card's key into ssh-agent",
    "ansible_ssh_executable": "`ota` speaks SSH itself; use ProxyCommand for a program in between",
}
_READ = frozenset((
    *ADDRESS, *PORT, *USER, *PASSWORD, *KEY_FILE, *TIMEOUT, *HOST_KEY_CHECKING, *BECOME_USER, *BECOME_FLAGS, *BECOME_EXE, *BECOME_PASSWORD,
    "ansible_become", "ansible_become_method", "ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args",
    "ansible_ssh_retries", *_NO_EFFECT, *_REFUSED,
))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach a host; paths are as written, `~` and relative ones are the SSH room's to resolve, as OpenSSH does.

    `known_hosts_files` None: the user's and the system's own. `host_key_checking` False: the inventory asks for none, and gets it all
    the same. `retries` are further attempts to connect. `keepalive_s` 0: none asked for. `ssh_config_file` None: the user's and the
    system's own; `none`: no file. `python_interpreter` None: to be discovered. `password_source` is `prompt`,
    `env:NAME`, `inventory` (then `password_of` has it) or None. `ota_runtime` is in order of preference, empty where the device's
    facts decide. `ota_site` None: every site reaches it.
    """

    kind: Literal["ssh", "local"]
    address: str
    port: int | None = None
    user: str | None = None
    private_key_files: tuple[str, ...] = ()
    identities_only: bool = False
    proxy_jump: str | None = None
    proxy_command: str | None = None
    known_hosts_files: tuple[str, ...] | None = None
    host_key_checking: bool = True
    host_key_alias: str | None = None
    connect_timeout_s: float = 10.0
    retries: int = 0
    keepalive_s: int = 0
    compression: bool = False
    ssh_config_file: str | None = None
    python_interpreter: str | None = None
    become: bool = False
    become_user: str = "root"
    password_source: str | None = None
    ota_root: str | None = None
    ota_runtime: tuple[str, ...] = ()
    ota_boot_hook: str = "auto"
    ota_site: str | None = None


def connection_of(host: Host) -> Connection:
    """Return how to reach `host`.

    Raises:
        ContentError: variables of the host are wrong, hold Jinja or vault, or are not honoured; carries all of them.
    """
    variables = HostVariables(host)
    _check_names(variables)
    connection = _local(variables) if _is_local(variables) else _ssh(variables, host.name)
    if variables.faults:
        raise ContentError(*variables.faults)
    return connection


def password_of(host: Host) -> str | None:
    """Return the SSH password that the inventory holds in clear, None where it holds none; for the SSH room alone."""
    return HostVariables(host).text(*PASSWORD)


def _local(variables: HostVariables) -> Connection:
    become, become_user = _become(variables)
    return Connection(
        kind="local",
        address="localhost",
        python_interpreter=variables.parsed(_python, "ansible_python_interpreter"),
        become=become,
        become_user=become_user,
        ota_root=variables.parsed(_root, "ota_root"),
        ota_runtime=_runtimes(variables),
        ota_boot_hook=variables.parsed(_boot_hook, "ota_boot_hook") or "auto",
        ota_site=variables.parsed(single_word, "ota_site"),
    )


def _ssh(variables: HostVariables, name: str) -> Connection:
    for refused, hint in _REFUSED.items():
        if variables.find(refused) and variables.value(refused) != "ssh":
            variables.fault(refused, "is not honoured", hint)
    options = SshOptions(variables)
    become, become_user = _become(variables)
    checking = variables.flag(*HOST_KEY_CHECKING, default=True)
    retries = variables.parsed(count, "ansible_ssh_retries")
    return Connection(
        kind="ssh",
        address=options.text("hostname", variables.parsed(single_word, *ADDRESS)) or name,
        port=options.parsed("port", network_port, variables.parsed(network_port, *PORT)),
        user=options.text("user", variables.parsed(single_word, *USER)),
        private_key_files=options.identity_files(variables.text(*KEY_FILE)),
        identities_only=options.flag("identitiesonly"),
        proxy_jump=options.unless_none("proxyjump"),
        proxy_command=options.unless_none("proxycommand"),
        known_hosts_files=options.known_hosts_files(),
        host_key_checking=checking and options.checks_host_keys(),
        host_key_alias=options.text("hostkeyalias", None),
        connect_timeout_s=options.parsed(
            "connecttimeout", positive_number, variables.parsed(positive_number, *TIMEOUT)
        )
        or 10.0,
        retries=retries if retries is not None else options.retries(),
        keepalive_s=options.parsed("serveraliveinterval", count, None) or 0,
        compression=options.flag("compression"),
        ssh_config_file=options.text("config", None),
        python_interpreter=variables.parsed(_python, "ansible_python_interpreter"),
        become=become,
        become_user=become_user,
        password_source=_password_source(variables),
        ota_root=variables.parsed(_root, "ota_root"),
        ota_runtime=_runtimes(variables),
        ota_boot_hook=variables.parsed(_boot_hook, "ota_boot_hook") or "auto",
        ota_site=variables.parsed(single_word, "ota_site"),
    )


def _check_names(variables: HostVariables) -> None:
    own = [name for name, _ in OTA_VARIABLES]
    for name in variables.names:
        if name.startswith("ota_") and name not in own:
            guess = get_close_matches(name, own, n=1)
            variables.fault(
                name,
                "is not a variable of `ota`",
                f"did you mean {guess[0]}?" if guess else f"those are {', '.join(own)}",
            )
        elif name.startswith(("ansible_ssh_", "ansible_become")) and name not in _READ:
            guess = get_close_matches(name, sorted(_READ), n=1, cutoff=0.85)
            if guess:
                variables.fault(name, "is not a connection variable", f"did you mean {guess[0]}?")


def _is_local(variables: HostVariables) -> bool:
    kind = (variables.text("ansible_connection") or "ssh").removeprefix("ansible.builtin.")
    if kind not in _SSH_KINDS and kind != "local":
        variables.fault("ansible_connection", f"must be ssh or local, found {kind!r}")
    return kind == "local"


def _become(variables: HostVariables) -> tuple[bool, str]:
    """Return whether commands run through `sudo -n`, and as whom."""
    user = variables.parsed(single_word, *BECOME_USER) or "root"
    if not variables.flag("ansible_become", default=False):
        return False, user
    method = variables.text("ansible_become_method") or "sudo"
    if method.removeprefix("ansible.builtin.") != "sudo":
        variables.fault("ansible_become_method", f"must be sudo, found {method!r}")
    executable = variables.text(*BECOME_EXE) or "sudo"
    if executable not in {"sudo", "/usr/bin/sudo"}:
        variables.fault(variables.find(*BECOME_EXE) or "", f"must be sudo, found {executable!r}")
    flags = set(variables.parsed(_words, *BECOME_FLAGS) or ()) - _SUDO_FLAGS
    if flags:
        variables.fault(
            variables.find(*BECOME_FLAGS) or "", f"holds {' '.join(sorted(flags))}, which is not honoured"
        )
    password = variables.find(*BECOME_PASSWORD)
    if password:
        hint = "allow the user NOPASSWD in sudoers, and remove the variable"
        variables.fault(password, "is not honoured: `ota` runs `sudo -n`, without a password", hint)
    return True, user


def _password_source(variables: HostVariables) -> str | None:
    source = variables.parsed(_source, "ota_password_source")
    if source:
        return source
    return "inventory" if variables.text(*PASSWORD) is not None else None


def _runtimes(variables: HostVariables) -> tuple[str, ...]:
    value = variables.value("ota_runtime")
    items = value if isinstance(value, tuple) else () if value is None else (value,)
    names = [variables.clear("ota_runtime", item) for item in items]
    return tuple(name for name in names if name)


def _source(text: str) -> str:
    if text != "prompt" and not re.fullmatch(r"env:[A-Za-z_]\w*", text):
        raise ValueError("prompt, or env: and the name of an environment variable")
    return text


def _boot_hook(text: str) -> str:
    if text not in BOOT_HOOKS:
        raise ValueError(f"one of {', '.join(BOOT_HOOKS)}")
    return text


def _root(text: str) -> str:
    if not text.startswith(("/", "~/")) or ".." in text.split("/") or not text.strip("/~"):
        raise ValueError("an absolute path of a folder, or one below ~/")
    return text


def _python(text: str) -> str | None:
    if text in _AUTO_PYTHON:
        return None
    interpreter = text.removeprefix("/usr/bin/env ").strip()
    if not re.fullmatch(r"[^\s-]\S*", interpreter):
        raise ValueError("the path of a Python interpreter, or auto")
    return interpreter


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:
        raise ValueError("words with matching quotes") from None
