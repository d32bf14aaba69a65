"""What every connection to a device can do: start a command and talk to it, bytes both ways; ssh.py and local.py implement it.

Invariants: a call returns or raises within the limits; a connection that is gone, silent or too slow raises UnreachableError, a command
that ended before it answered raises CommandEndedError, each with the host's name in `where`; what is kept of stderr is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

STDERR_BYTES = 16 * 1024
"""How much of the end of a command's stderr is kept for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds that each wait on a device may last.

    `connect_s` is for one attempt to connect and sign in; `silent_s` for a link on which nothing at all is heard, keepalive answers included;
    `idle_s` for a command that neither sends nor takes a byte on a link that lives; `overall_s` for a command from start to end.
    """

    connect_s: float = 10.0
    silent_s: float = 60.0
    idle_s: float = 900.0
    overall_s: float = 6 * 3600.0


class Channel(Protocol):
    """A running command on a device: its stdin, stdout and stderr. Used from one thread; `close` from any."""

    def write(self, data: bytes | memoryview) -> None:
        """Send all of `data` to the command's stdin; blocks until it is taken.

        Raises:
            UnreachableError: the connection is gone or a limit was hit.
            CommandEndedError: the command no longer reads.
        """
        ...

    def close_write(self) -> None:
        """Say that nothing more will be written: the command sees the end of its stdin."""
        ...

    def read_exactly(self, count: int) -> bytes:
        """Return exactly `count` bytes of stdout.

        Raises:
            UnreachableError: the connection is gone or a limit was hit.
            CommandEndedError: the command ended before it sent as many.
        """
        ...

    def read_line(self, limit: int) -> bytes:
        r"""Return the next line of stdout without its `\n`.

        Raises:
            UnreachableError: the connection is gone or a limit was hit.
            CommandEndedError: the command ended within the line or before it.
            HostError: the line has more than `limit` bytes.
        """
        ...

    def read_some(self, limit: int) -> bytes:
        """Return from 1 to `limit` bytes of stdout as soon as there are any; none at its end.

        Raises:
            UnreachableError: the connection is gone or a limit was hit.
        """
        ...

    def exit_code(self) -> int:
        """Wait for the end of the command and return its exit code, 128 + N (or -1 where N is unknown) for death by signal N.

        Raises:
            UnreachableError: the connection is gone or a limit was hit.
        """
        ...

    def stderr(self) -> str:
        """Return the end of what the command wrote to stderr so far, at most STDERR_BYTES, made safe to print."""
        ...

    def close(self) -> None:
        """End the dialogue; a command that still runs sees its stdin end. Safe to call twice and from another thread."""
        ...


class Transport(Protocol):
    """A way to a device; `contextlib.closing` makes it a context manager."""

    @property
    def address(self) -> str:
        """Where it leads, for messages: `user@host:port` or `local`."""
        ...

    @property
    def public_key(self) -> str | None:
        """The key that let us in, its kind and base64; None where it was a password, or where nothing had to."""
        ...

    @property
    def round_trip_s(self) -> float | None:
        """The seconds of a round trip of the link, as far as it is known; None before a command was started."""
        ...

    def open(self, argv: Sequence[str]) -> Channel:
        """Start a command; every argument reaches it as it is, and becoming another user is applied here.

        Raises:
            UnreachableError: the connection is gone or refuses.
        """
        ...

    def close(self) -> None:
        """Close the connection and every channel on it; safe to call twice and from another thread."""
        ...
