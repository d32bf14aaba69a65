"""An open SSH connection as a Transport, a command on it as a Pipe, and the watch that finds a link on which nothing is heard any more.

The watch is two threads: one asks the other end for a sign of life, and may block in a send on a dead link; the other judges, and closes
the connection, which frees everyone who waits on it.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ota.core.connection import Connection
from ota.errors import UnreachableError
from ota.remote.channel import BufferedChannel, command_of, shell_line
from ota.remote.ssh_refusals import reason
from ota.remote.transport import Channel, Limits

ASK_EVERY_S = 15.0
"""How often a sign of life is asked for, unless the SSH configuration says otherwise."""

_LAST_WORDS_S = 1.0
"""How long the end of a command's output may come behind its exit code."""
_PACKETS_PER_SEND = 4
_UNREAD_BYTES, _UNREAD_BYTES_PER_S = 192 * 1024, 60e6
"""How much may be under way to a command that has not read it yet: so much, and on a long line what fills it at this rate."""
_UNREAD_S = 0.1
_MIN_RTT_AT, _NOTHING_SEEN = 148, 0xFFFFFFFF
_PACKET_BYTES = 32 * 1024


class Watch:
    """When a connection was last heard, and why it was lost.

    `ask` sends a question and returns when it was answered; `alive` says whether the connection stands; `cut` closes it.
    """

    def __init__(
        self,
        *,
        ask: Callable[[], object],
        alive: Callable[[], bool],
        cut: Callable[[], None],
        every_s: float,
        silent_s: float,
    ) -> None:
        self._ask, self._alive, self._cut = ask, alive, cut
        self._every_s, self._silent_s = every_s, silent_s
        self._heard = time.monotonic()
        self._over = threading.Event()
        self._reason = ""
        for work in (self._ask_again, self._judge):
            threading.Thread(target=work, name=f"ota-ssh{work.__name__}", daemon=True).start()

    def hear(self) -> None:
        """Note a sign of life."""
        self._heard = time.monotonic()

    def silent_s(self) -> float:
        """Return the seconds since the last sign of life."""
        return time.monotonic() - self._heard

    def lost(self) -> str:
        """Say why the connection is gone; empty while it lives."""
        if not self._reason and not self._alive():
            self._reason = "the connection was cut"
        return self._reason

    def stop(self, reason: str) -> None:
        """End both threads; what waits on the connection afterwards reports `reason`."""
        self._reason = self._reason or reason
        self._over.set()

    def _ask_again(self) -> None:
        while not self._over.wait(self._every_s) and self._alive():
            try:
                self._ask()
            except (OSError, EOFError):
                return
            if self._alive():
                self.hear()

    def _judge(self) -> None:
        while not self._over.wait(min(1.0, self._every_s)):
            if self.silent_s() > self._silent_s:
                self.stop(f"the connection went silent: nothing heard for {self._silent_s:g} s")
                self._cut()


class _CommandEnd(socket.socket):
    """Our end of a command's stdin and stdout; the command is told to end when it is closed, as OpenSSH does, for some would wait for ever."""

    process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """Close it, and have the command end."""
        super().close()
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGHUP)


def through_command(command: str) -> socket.socket:
    """Return a socket to a ProxyCommand, which a shell runs as OpenSSH has it; the command ends when it is closed."""
    made, theirs = socket.socketpair()
    ours = _CommandEnd(made.family, made.type, made.proto, made.detach())
    with theirs:
        # Its stderr is dropped: what it would write there belongs to one of many hosts and to no line of ours.
        ours.process = subprocess.Popen(
            ("/bin/sh", "-c", f"exec {command}"),
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
        )
    threading.Thread(target=ours.process.wait, daemon=True).start()
    return ours


def least_round_trip_s(sock: object) -> float | None:
    """Return the shortest round trip that the kernel saw on a connection, which the other end's work is no part of; None where there is none to ask.

    From Linux's `struct tcp_info` (linux/tcp.h): tcpi_min_rtt in microseconds, 148 bytes from its beginning.
    """
    if not isinstance(sock, socket.socket) or not hasattr(socket, "TCP_INFO"):
        return None
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT_AT + 4)
    except OSError:
        return None
    found = (
        int.from_bytes(told[_MIN_RTT_AT : _MIN_RTT_AT + 4], sys.byteorder)
        if len(told) > _MIN_RTT_AT + 3
        else 0
    )
    return found / 1e6 if 0 < found < _NOTHING_SEEN else None


class SshChannel(Protocol):
    """What is used of the SSH library's channel."""

    closed: bool
    eof_received: int
    exit_status: int
    status_event: threading.Event
    remote_chanid: int
    out_window_size: int
    out_buffer_cv: threading.Condition

    def settimeout(self, timeout: float | None, /) -> None:
        """Let `send` and `recv` raise TimeoutError after so many seconds."""

    def send(self, s: bytes, /) -> int:
        """Send what the window takes; 0 when the other end no longer reads."""
        ...

    def recv(self, nbytes: int, /) -> bytes:
        """Return bytes of stdout; none at its end."""
        ...

    def recv_stderr_ready(self) -> bool:
        """Say whether `recv_stderr` would return at once."""
        ...

    def recv_stderr(self, nbytes: int, /) -> bytes:
        """Return bytes of stderr."""
        ...

    def shutdown_write(self) -> None:
        """Close the command's stdin."""

    def close(self) -> None:
        """Close the channel."""


class SshPipe:
    """The raw ends of a command on a device; see Pipe. A round trip to it takes `round_trip_s`."""

    def __init__(self, channel: SshChannel, watch: Watch, *, round_trip_s: float = 0.0) -> None:
        self._channel = channel
        self._watch = watch
        self._closed = False
        self._widest = 0
        self._most_unread = max(_UNREAD_BYTES, round(round_trip_s * _UNREAD_BYTES_PER_S))

    def send(self, data: memoryview, seconds: float) -> int:
        """Write what the other end has room for, a little at a time where it does not keep up."""
        self._channel.settimeout(seconds)
        self._let_it_read()
        taken = 0
        try:
            for _ in range(_PACKETS_PER_SEND):
                sent = self._channel.send(bytes(data[taken : taken + _PACKET_BYTES]))
                taken += sent
                if not sent:
                    raise BrokenPipeError
                if taken == len(data):
                    break
        except TimeoutError:
            pass
        except EOFError as error:
            raise BrokenPipeError from error
        return taken

    def _let_it_read(self) -> None:
        """Wait a moment where much of what was sent has not reached the command.

        sshd keeps it in a buffer that it copies whenever it grows, which costs a board more than all the rest of a transfer. By the size of the window one
        knows how much it is; a server that tells late is not waited for long.
        """
        channel = self._channel
        self._widest = max(self._widest, channel.out_window_size)
        if self._unread() > self._most_unread:
            with channel.out_buffer_cv:
                channel.out_buffer_cv.wait_for(lambda: self._unread() <= self._most_unread, _UNREAD_S)

    def _unread(self) -> int:
        return self._widest - self._channel.out_window_size

    def end_input(self) -> None:
        """Close the command's stdin."""
        try:
            self._channel.shutdown_write()
        except (OSError, EOFError):
            return

    def receive(self, limit: int, seconds: float) -> bytes | None:
        """Read what is there."""
        self._channel.settimeout(seconds)
        try:
            came = self._channel.recv(limit)
        except TimeoutError:
            return None
        if came:
            self._watch.hear()
        return came

    def exit_code(self, seconds: float) -> int | None:
        """Return the exit code; -1 when a signal ended the command."""
        if not self._channel.status_event.wait(seconds):
            return None
        # sshd may tell how the command ended before it sent the last of what it wrote.
        until = time.monotonic() + _LAST_WORDS_S
        while not (self._channel.eof_received or self._channel.closed) and time.monotonic() < until:
            time.sleep(0.005)
        return self._channel.exit_status

    def take_stderr(self) -> bytes:
        """Return what has come on stderr since the last call."""
        came = bytearray()
        while self._channel.recv_stderr_ready():
            piece = self._channel.recv_stderr(_PACKET_BYTES)
            if not piece:
                break
            came += piece
        return bytes(came)

    def lost(self) -> str:
        """Say why the connection is gone; empty while it lives."""
        return self._watch.lost() or ("the connection was closed" if self._closed else "")

    def silent_s(self) -> float:
        """Return the seconds since anything was heard on the connection."""
        return self._watch.silent_s()

    def close(self) -> None:
        """Close the channel; the connection stays."""
        self._closed = True
        try:
            self._channel.close()
        except (OSError, EOFError):
            return


class SshSession(Protocol):
    """What is used of the SSH library's connection once it is open."""

    @property
    def sock(self) -> object:
        """What it goes over."""
        ...

    def open_channel(self, *, timeout: float) -> SshChannel:
        """Open a channel for one command; takes a round trip."""
        ...

    def start(self, channel: SshChannel, command: str) -> None:
        """Start the command and wait for nothing: a server that refuses closes the channel."""

    def global_request(self, kind: str, /, *, wait: bool) -> object:
        """Ask the other end something and wait for any answer."""
        ...

    def is_active(self) -> bool:
        """Say whether the connection stands."""
        ...

    def close(self) -> None:
        """Close the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where a connection leads, and the key that let us in, its kind and base64; None where it was a password."""

    address: str
    public_key: str | None


class SshTransport:
    """A Transport over an open connection.

    `faults` are what the SSH library raises, `close` ends the connection and those it goes through.
    """

    def __init__(
        self,
        *,
        host: str,
        login: Login,
        connection: Connection,
        limits: Limits,
        session: SshSession,
        keepalive_s: float,
        close: Callable[[], None],
        faults: tuple[type[Exception], ...],
    ) -> None:
        self._host, self._login, self._connection, self._limits = host, login, connection, limits
        self._session, self._close, self._faults = session, close, faults
        self.round_trip_s: float | None = None
        self._watch = Watch(
            ask=lambda: session.global_request("keepalive@openssh.com", wait=True),
            alive=session.is_active,
            cut=session.close,
            every_s=keepalive_s,
            silent_s=limits.silent_s,
        )

    @property
    def address(self) -> str:
        """Where it leads."""
        return self._login.address

    @property
    def public_key(self) -> str | None:
        """The key that let us in, None where it was a password."""
        return self._login.public_key

    def open(self, argv: Sequence[str]) -> Channel:
        """Start a command; see Transport."""
        try:
            began = time.monotonic()
            channel = self._session.open_channel(timeout=self._limits.connect_s)
            self.round_trip_s = least_round_trip_s(self._session.sock) or time.monotonic() - began
            self._session.start(channel, shell_line(command_of(argv, self._connection)))
        except self._faults as error:
            problem = self._watch.lost() or f"it refuses to start a command: {reason(error)}"
            raise UnreachableError(problem, where=self._host) from error
        pipe = SshPipe(channel, self._watch, round_trip_s=self.round_trip_s)
        return BufferedChannel(pipe, host=self._host, limits=self._limits)

    def close(self) -> None:
        """Close the connection and those it goes through."""
        self._watch.stop("the connection was closed")
        self._close()
