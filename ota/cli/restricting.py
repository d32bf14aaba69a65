"""What `ota provision --restrict` adds: which key, on which hosts, to what; and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ota.core.connection import connection_of
from ota.errors import ContentError, Fault, MissingFileError, OtaError, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ota.cli.session import Session
    from ota.core.inventory import Host
    from ota.core.playbook import Play
    from ota.core.restriction import Scope
    from ota.remote.device import Device
    from ota.workflows.restrict import RestrictResult


def controllers_key(path: str | None, *, restricted: bool) -> str | None:
    """Return the key that a public key file holds, None where none is named.

    Raises:
        UsageError: a key is named and nothing is to be restricted.
        MissingFileError: there is no such file.
        ContentError: it holds no public key.
    """
    from ota.core.restriction import public_key_of

    if path is None:
        return None
    if not restricted:
        raise UsageError("--controller-key says which key --restrict limits", hint="add --restrict")
    file = Path(path).expanduser()
    try:
        return public_key_of(file.read_text("utf-8", "replace"))
    except OSError as error:
        raise MissingFileError(f"the public key cannot be read: {error.strerror}", where=str(file)) from error
    except ValueError as error:
        raise ContentError(
            Fault(file=str(file), problem=f"expected a public SSH key, found {error}")
        ) from error


@dataclass
class Restricting:
    """Gathers, play after play, what the key of each host may be asked for: one key has one line, so all plays come into it."""

    _hosts: dict[str, Host] = field(default_factory=dict)
    _models: dict[str, str] = field(default_factory=dict)
    _scopes: dict[str, list[Scope]] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)

    def add(self, play: Play, ended: Sequence[tuple[Host, OtaError | None]]) -> None:
        """Note a play on its hosts; one that failed in any play is left as it is."""
        from ota.core.restriction import Scope
        from ota.remote.device import DEFAULT_ROOT
        from ota.workflows.restrict import commands_of

        for host, error in ended:
            self._hosts[host.name] = host
            self._models.setdefault(host.name, play.model.name)
            root = connection_of(host).ota_root or f"{DEFAULT_ROOT}/{play.model.name}"
            scopes = self._scopes.setdefault(host.name, [])
            known = next((scope for scope in scopes if scope.root == root), None)
            commands = commands_of(play.deploy)
            if known is not None:
                scopes.remove(known)
                commands = (*known.commands, *commands)
            scopes.append(Scope(root=root, commands=commands))
            if error is not None:
                self._failed.add(host.name)

    def run(self, here: Session, key: str | None, *, check: bool) -> tuple[RestrictResult, ...]:
        """Limit the key on every host that was provisioned."""
        from ota.workflows.restrict import RestrictEnds, restrict

        def connect(host: Host) -> AbstractContextManager[Device]:
            return here.connector(self._models[host.name], keep_agent=not check)(host)

        def become(host: Host) -> str | None:
            connection = connection_of(host)
            return connection.become_user if connection.become else None

        ends = RestrictEnds(
            connect=connect, executor=here.executor, become_of=become, emit=here.watcher.emit, key=key
        )
        hosts = [host for name, host in self._hosts.items() if name not in self._failed]
        return restrict(hosts, self._scopes, ends, forks=here.target.forks, check=check)


def tell_restrictions(results: Sequence[RestrictResult]) -> None:
    """Print the lines, whole, so that they can be compared and copied."""
    for result in results:
        if result.restriction is None:
            continue
        done = result.restriction
        click.echo(f"\n{result.host.name}: {done.file}\n  {done.line}")
        if done.sudoers:
            click.echo(
                f"  in sudoers instead of a wider line (visudo -f /etc/sudoers.d/ota):\n  {done.sudoers}"
            )
