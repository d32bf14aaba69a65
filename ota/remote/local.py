"""The controller itself as a device (`ansible_connection: local`): the same Transport by subprocess, no SSH in between."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from ota.core.connection import Connection
from ota.core.inventory import Host
from ota.errors import UnreachableError
from ota.remote.channel import BufferedChannel, command_of
from ota.remote.transport import STDERR_BYTES, Channel, Limits

_TERMINATE_S = 2.0
_SHELL = ("/bin/sh", "-c", 'exec "$@"', "sh")
"""Run by a shell as sshd does, so that a command that is not there is exit code 127 here too."""


def connect(host: Host, connection: Connection, *, limits: Limits | None = None) -> LocalTransport:
    """Return a Transport whose commands run here, in the home folder, as the current user or whom the connection becomes."""
    return LocalTransport(host.name, connection, limits or Limits())


class LocalTransport:
    """A Transport to the machine that `ota` runs on."""

    def __init__(self, host: str, connection: Connection, limits: Limits) -> None:
        self._host = host
        self._connection = connection
        self._limits = limits
        self._pipes: list[_ProcessPipe] = []
        self._closed = False

    @property
    def address(self) -> str:
        """Where it leads."""
        return "local"

    @property
    def public_key(self) -> str | None:
        """No key: nobody has to be let in."""
        return None

    @property
    def round_trip_s(self) -> float:
        """None at all."""
        return 0.0

    def open(self, argv: Sequence[str]) -> Channel:
        """Start a command; see Transport."""
        if self._closed:
            raise UnreachableError("the connection was closed", where=self._host)
        pipe = _ProcessPipe(command_of(argv, self._connection))
        self._pipes.append(pipe)
        return BufferedChannel(pipe, host=self._host, limits=self._limits)

    def close(self) -> None:
        """End every command that still runs."""
        self._closed = True
        for pipe in tuple(self._pipes):
            pipe.close()


class _ProcessPipe:
    """The pipes of a child process; stderr is drained by a thread, so that a full pipe never stops the child."""

    def __init__(self, argv: Sequence[str]) -> None:
        # A session of its own: Ctrl-C reaches the controller alone, and a step under way ends as over SSH.
        self._process = subprocess.Popen(
            (*_SHELL, *argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=Path.home(),
            start_new_session=True,
        )
        self._stdin, self._stdout, errors = _ends(self._process)
        os.set_blocking(self._stdin.fileno(), False)
        self._errors = bytearray()
        self._guard = threading.Lock()
        self._drain = threading.Thread(target=self._drain_stderr, args=(errors,), daemon=True)
        self._drain.start()
        self._closed = False

    def send(self, data: memoryview, seconds: float) -> int:
        """Write what the pipe takes; see Pipe."""
        if self._closed or self._stdin.closed:
            raise BrokenPipeError
        if not _ready(self._stdin, selectors.EVENT_WRITE, seconds):
            return 0
        try:
            return os.write(self._stdin.fileno(), data)
        except BlockingIOError:
            return 0

    def end_input(self) -> None:
        """Close the command's stdin."""
        with suppress(OSError):
            self._stdin.close()

    def receive(self, limit: int, seconds: float) -> bytes | None:
        """Read what is there; see Pipe."""
        if self._closed:
            return b""
        if not _ready(self._stdout, selectors.EVENT_READ, seconds):
            return None
        return os.read(self._stdout.fileno(), limit)

    def exit_code(self, seconds: float) -> int | None:
        """Return the exit code, 128 + N after signal N."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._drain.join(seconds)
        return 128 - code if code < 0 else code

    def take_stderr(self) -> bytes:
        """Return what has come on stderr since the last call."""
        with self._guard:
            came = bytes(self._errors)
            self._errors.clear()
        return came

    def lost(self) -> str:
        """Say whether we closed it ourselves: nothing else can come between."""
        return "the connection was closed" if self._closed else ""

    def silent_s(self) -> float:
        """Return 0: a machine hears itself."""
        return 0.0

    def close(self) -> None:
        """Close stdin, give the command a moment to end by itself, then end it and what it started."""
        if self._closed:
            return
        self._closed = True
        self.end_input()
        try:
            self._process.wait(_TERMINATE_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, 15)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_TERMINATE_S)
        self._stdout.close()

    def _drain_stderr(self, errors: IO[bytes]) -> None:
        with errors:
            while came := errors.read(4096):
                with self._guard:
                    self._errors += came
                    del self._errors[:-STDERR_BYTES]


def _ends(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("a process that was started with pipes has pipes")
    return process.stdin, process.stdout, process.stderr


def _ready(end: IO[bytes], event: int, seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(end, event)
        return bool(selector.select(seconds))
