"""Ways to hosts, opened by what the inventory says and closed all at once when a run is broken off."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakSet

from ota.core.connection import Connection, connection_of
from ota.core.inventory import Host
from ota.errors import InterruptedRunError
from ota.remote import local
from ota.remote.transport import Limits, Transport

PasswordOf = Callable[[Host, Connection], "str | None"]
"""Returns the SSH password of a host at the moment when it is needed: asked for, read from the environment, or None."""


class Connections:
    """Opens a Transport per host and remembers those that live, so that `close` can end them from another thread."""

    def __init__(self, password_of: PasswordOf = lambda _host, _connection: None, *, limits: Limits | None = None) -> None:  # fmt: skip
        self._password_of = password_of
        self._limits = limits or Limits()
        self._open: WeakSet[Transport] = WeakSet()
        self._closed = False

    def open(self, host: Host) -> Transport:
        """Return a way to `host`, over SSH or on this machine.

        Raises:
            UnreachableError: it cannot be reached or does not let us in.
            ContentError: its connection variables or the SSH configuration are wrong.
            MissingFileError: a file that they name is not there.
            InterruptedRunError: everything was closed already.
        """
        connection = connection_of(host)
        self._refuse_when_closed(host)
        made = self._connect(host, connection)
        self._open.add(made)
        if self._closed:
            made.close()
        self._refuse_when_closed(host)
        return made

    def close(self) -> None:
        """Close every way that is open; none opens afterwards."""
        self._closed = True
        for made in tuple(self._open):
            made.close()

    def _connect(self, host: Host, connection: Connection) -> Transport:
        if connection.kind == "local":
            return local.connect(host, connection, limits=self._limits)
        from ota.remote import ssh  # noqa: PLC0415 - fabric and paramiko are loaded where there is SSH

        return ssh.connect(
            host, connection, password=lambda: self._password_of(host, connection), limits=self._limits
        )

    def _refuse_when_closed(self, host: Host) -> None:
        if self._closed:
            raise InterruptedRunError("the run was stopped before it was connected", where=host.name)
