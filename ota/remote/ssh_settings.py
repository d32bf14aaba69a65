"""What a connection's settings and the person's ~/.ssh/config come to together, as OpenSSH would merge them.

Rules: what the inventory says is written in front of the configuration files, and the first value of an option counts; a file named by -F
stands for all others; jump hosts are looked up in the files alone. Reading the merged text is the SSH library's work.
"""

from __future__ import annotations

import getpass
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ota.core.connection import Connection
from ota.errors import ContentError, Fault, MissingFileError
from ota.remote.trust import SSH_PORT, known_name

Lookup = Callable[[str, str], Mapping[str, object]]
"""(text of a configuration, host) -> its options, names in lower case; ValueError with the reason when it cannot be read."""

_FILES = ("~/.ssh/config", "/etc/ssh/ssh_config")
_DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_INCLUDE = re.compile(r"\s*include(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)
_SECTION = re.compile(r"\s*(?:host|match)\b", re.IGNORECASE)
_DEEPEST = 16
_JUMP = re.compile(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:/]+)(?::(?P<port>\d+))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One machine to sign in to: the target or a jump host. `required_files` were named in the inventory, so each has to exist."""

    address: str
    port: int
    user: str
    required_files: tuple[Path, ...]
    key_files: tuple[Path, ...]
    identities_only: bool
    alias: str | None
    known_hosts_files: tuple[str, ...] | None
    connect_timeout_s: float
    keepalive_s: int
    compression: bool
    proxy_jump: str | None
    proxy_command: str | None

    @property
    def known_name(self) -> str:
        """What known_hosts files call it."""
        return known_name(self.address, self.port, self.alias)

    @property
    def text(self) -> str:
        """`user@host:port`, for messages."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.user}@{host}:{self.port}"


def target(connection: Connection, lookup: Lookup) -> Endpoint:
    """Return where a connection leads.

    Raises:
        ContentError: a configuration file cannot be read as one, or an option has no sense.
        MissingFileError: the file that -F names is not there.
    """
    text = _block(connection) + _configuration(connection)
    return _endpoint(connection.address, text, connection, lookup)


def jump_hosts(end: Endpoint, connection: Connection, lookup: Lookup) -> tuple[Endpoint, ...]:
    """Return the machines to go through, nearest first; a first jump host with jump hosts of its own goes through those.

    Raises:
        ContentError: a jump cannot be read, or jumps go round in a circle.
        MissingFileError: the file that -F names is not there.
    """
    text = _configuration(connection)
    chain: list[Endpoint] = []
    jump = end.proxy_jump
    while jump:
        hops = [_hop(word, text, connection, lookup) for word in jump.split(",")]
        chain = [*hops, *chain]
        if len(chain) > _DEEPEST:
            raise ContentError(
                Fault(file="ProxyJump", problem=f"the jumps of {end.text} go round in a circle")
            )
        jump = hops[0].proxy_jump
    return tuple(chain)


def _hop(word: str, text: str, connection: Connection, lookup: Lookup) -> Endpoint:
    found = _JUMP.fullmatch(word.strip())
    if not found:
        raise ContentError(Fault(file="ProxyJump", problem=f"{word!r} is not [user@]host[:port]"))
    named = "".join(
        f"{option} {_quoted(value)}\n"
        for option, value in (("User", found["user"]), ("Port", found["port"]))
        if value
    )
    block = f"Host *\n{named}{_identities(connection)}Host *\n"
    return _endpoint(found["host"].strip("[]"), block + text, connection, lookup)


def _endpoint(host: str, text: str, connection: Connection, lookup: Lookup) -> Endpoint:
    try:
        found = lookup(text, host)
        options = {name: value for name, value in found.items() if isinstance(value, str)}
        files = found.get("identityfile")
        named = options.get("userknownhostsfile")
        return Endpoint(
            address=options.get("hostname", host),
            port=int(options.get("port", SSH_PORT)),
            user=options.get("user") or getpass.getuser(),
            required_files=tuple(Path(name).expanduser() for name in connection.private_key_files),
            key_files=tuple(Path(str(name)).expanduser() for name in files)
            if isinstance(files, list)
            else (),
            identities_only=options.get("identitiesonly", "no").lower() == "yes",
            alias=options.get("hostkeyalias"),
            known_hosts_files=tuple(shlex.split(named)) if named else None,
            connect_timeout_s=float(options.get("connecttimeout", connection.connect_timeout_s)),
            keepalive_s=int(options.get("serveraliveinterval", connection.keepalive_s)),
            compression=options.get("compression", "no").lower() == "yes",
            proxy_jump=_unless_none(options.get("proxyjump")),
            proxy_command=_unless_none(options.get("proxycommand")),
        )
    except ValueError as error:
        place = connection.ssh_config_file or _FILES[0]
        raise ContentError(
            Fault(file=place, problem=f"the SSH configuration cannot be used: {error}")
        ) from error


def _block(connection: Connection) -> str:
    """Return the connection's own settings as the first section of a configuration."""
    known = connection.known_hosts_files
    options: list[tuple[str, object]] = [
        ("Port", connection.port),
        ("User", connection.user),
        ("HostKeyAlias", connection.host_key_alias),
        ("UserKnownHostsFile", shlex.join(known) if known else None),
        ("IdentitiesOnly", "yes" if connection.identities_only else None),
        ("Compression", "yes" if connection.compression else None),
        ("ServerAliveInterval", connection.keepalive_s or None),
    ]
    if connection.proxy_jump:
        options += [("ProxyJump", connection.proxy_jump), ("ProxyCommand", "none")]
    elif connection.proxy_command:
        options += [("ProxyCommand", connection.proxy_command), ("ProxyJump", "none")]
    lines = [f"{name} {_quoted(value)}" for name, value in options if value is not None]
    return "Host *\n" + "".join(f"{line}\n" for line in lines) + _identities(connection) + "Host *\n"


def _identities(connection: Connection) -> str:
    return "".join(f"IdentityFile {_quoted(name)}\n" for name in connection.private_key_files)


def _quoted(value: object) -> str:
    text = str(value)
    if "\n" in text or "\r" in text:
        raise ContentError(
            Fault(file="the inventory", problem=f"a line break in a connection setting: {text!r}")
        )
    return text if text == "none" else f'"{text}"'


def _configuration(connection: Connection) -> str:
    named = connection.ssh_config_file
    if named is None:
        return "\nHost *\n".join(_text(Path(name).expanduser(), 0) for name in _FILES)
    if named == "none":
        return ""
    path = Path(named).expanduser()
    if not path.exists():
        raise MissingFileError("the SSH configuration named by -F does not exist", where=str(path))
    return _text(path, 0)


def _text(path: Path, depth: int) -> str:
    """Return a configuration file with its Include lines replaced by what they name; an absent file is empty."""
    if depth > _DEEPEST:
        raise ContentError(Fault(file=str(path), problem="Include goes round in a circle"))
    try:
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise MissingFileError(
            f"the SSH configuration cannot be read: {error.strerror}", where=str(path)
        ) from error
    text, section = "", "Host *"
    for line in lines:
        if _SECTION.match(line):
            section = line
        found = _INCLUDE.fullmatch(line)
        # What follows an included file belongs to the section that was open before it.
        text += f"{_included(found[1], path, depth)}\n{section}\n" if found else f"{line}\n"
    return text


def _included(words: str, path: Path, depth: int) -> str:
    base = Path("/etc/ssh" if path.is_relative_to("/etc/ssh") else "~/.ssh").expanduser()
    patterns = [base / Path(word).expanduser() for word in shlex.split(words)]
    files = [file for pattern in patterns for file in sorted(Path("/").glob(str(pattern.relative_to("/"))))]
    return "".join(_text(file, depth + 1) for file in files)


def _unless_none(value: str | None) -> str | None:
    return None if value is None or value.lower() == "none" else value
