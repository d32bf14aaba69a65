"""The words for every way in which a machine is out of reach over SSH: what happened, and what to do next."""

from __future__ import annotations

import logging
import shlex
import socket
from collections.abc import Sequence

from ota.errors import UnreachableError
from ota.remote.ssh_settings import Endpoint

_CROWDED = (
    "too many start-ups at once (MaxStartups in its sshd_config; try a smaller --forks), or no SSH server"
)


def is_hang_up(error: Exception) -> bool:
    """Say whether a server hung up before the sign-in, which another attempt may cure."""
    return isinstance(error, EOFError | ConnectionResetError) or "banner" in str(error)


def unreachable(host: str, end: Endpoint, error: Exception) -> UnreachableError:
    """Return why `end` could not be connected to."""
    place = f"{end.address} port {end.port}"
    if isinstance(error, socket.gaierror):
        problem, hint = (
            f"the name {end.address} cannot be resolved",
            "set ansible_host, or check the name service",
        )
    elif isinstance(error, TimeoutError) or "No existing session" in str(error):
        problem = f"no answer from {place} within {end.connect_timeout_s:g} s"
        hint = "check that it is switched on, on the network and not behind a firewall"
    elif isinstance(error, ConnectionRefusedError):
        problem = f"{place} refuses the connection"
        hint = "check that sshd runs there, and ansible_port"
    elif is_hang_up(error) and end.proxy_command is not None:
        problem = f"the ProxyCommand gives no connection: {end.proxy_command}"
        hint = "run it by hand to see why"
    elif is_hang_up(error):
        problem, hint = f"{place} hangs up before the sign-in", _CROWDED
    else:
        problem, hint = f"{place} cannot be connected to: {reason(error)}", ""
    return UnreachableError(problem, where=host, hint=hint)


def jump_failed(host: str, end: Endpoint, error: Exception) -> UnreachableError:
    """Return that a jump host cannot reach `end`."""
    return UnreachableError(
        f"the jump host cannot reach {end.address} port {end.port}: {reason(error)}",
        where=host,
        hint="check that address from the jump host, and AllowTcpForwarding in its sshd_config",
    )


def not_let_in(host: str, end: Endpoint, tried: Sequence[str], *, hung_up: bool) -> UnreachableError:
    """Return that nothing of what was `tried` lets us in."""
    absent = [str(file) for file in end.required_files if not file.exists()]
    if absent:
        return UnreachableError(
            f"the private key file {absent[0]} does not exist",
            where=host,
            hint="correct ansible_private_key_file, or make the key with ssh-keygen",
        )
    key = next((f"{file}.pub" for file in end.key_files if file.exists()), "")
    copy = ["ssh-copy-id", *(["-i", key] if key else []), "-p", str(end.port), f"{end.user}@{end.address}"]
    return UnreachableError(
        f"{end.text} does not let us in" + (", and hung up after so many attempts" if hung_up else ""),
        where=host,
        expected=f"a key or password of the user {end.user}",
        found=", ".join(tried) or "nothing to try: no key file, no agent and no password",
        hint=f"to allow a key there: {shlex.join(copy)}",
    )


def reason(error: BaseException) -> str:
    """Return an exception's own words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip() or type(error).__name__


def silence_library() -> None:
    """Keep paramiko's own tracebacks off the terminal: every fault comes back as an error with its reason."""
    if not logging.getLogger("paramiko").handlers:
        logging.getLogger("paramiko").addHandler(logging.NullHandler())
