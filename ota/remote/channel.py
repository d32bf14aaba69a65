"""What all channels share: a buffer for lines and counted bytes, the limits, and the words for every way in which a dialogue ends.

A way to a device implements Pipe, four small calls that never wait longer than they are told; BufferedChannel makes a Channel of it.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ota.core.connection import Connection
from ota.errors import CommandEndedError, HostError, UnreachableError
from ota.remote.transport import STDERR_BYTES, Limits

TICK_S = 1.0
"""How long a pipe waits at most before the limits are looked at again."""

_READ_BYTES = 256 * 1024
_WRITE_BYTES = 1024 * 1024
_AFTER_END_S = 5.0
"""A command whose stdout ended has this long to end itself before its exit code is called unknown."""


class Pipe(Protocol):
    """The raw ends of a running command."""

    def send(self, data: memoryview, seconds: float) -> int:
        """Write what can be taken within `seconds` and return its length; OSError when the command or the connection is gone."""
        ...

    def end_input(self) -> None:
        """Close the command's stdin."""
        ...

    def receive(self, limit: int, seconds: float) -> bytes | None:
        """Return up to `limit` bytes of stdout, none at its end, None when nothing came within `seconds`."""
        ...

    def exit_code(self, seconds: float) -> int | None:
        """Return the exit code when the command ends within `seconds`."""
        ...

    def take_stderr(self) -> bytes:
        """Return what has come on stderr since the last call."""
        ...

    def lost(self) -> str:
        """Say why the connection is gone; empty while it lives."""
        ...

    def silent_s(self) -> float:
        """Return for how many seconds nothing at all was heard from the other end."""
        ...

    def close(self) -> None:
        """Give everything back; safe to call twice and from another thread."""
        ...


def command_of(argv: Sequence[str], connection: Connection) -> tuple[str, ...]:
    """Return `argv`, run as the user that the connection becomes."""
    if not connection.become:
        return tuple(argv)
    return ("sudo", "-n", "-H", "-u", connection.become_user, "--", *argv)


def shell_line(argv: Sequence[str]) -> str:
    """Return the one line that a device's shell splits into exactly `argv` again."""
    return shlex.join(argv)


class BufferedChannel:
    """A Channel over a Pipe; see Channel for what each call promises."""

    def __init__(
        self, pipe: Pipe, *, host: str, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pipe = pipe
        self._host = host
        self._limits = limits
        self._clock = clock
        self._buffer = bytearray()
        self._stderr = b""
        self._begun = self._moved = clock()

    def write(self, data: bytes | memoryview) -> None:
        """Send all of `data`."""
        view = memoryview(data).cast("B")
        while view:
            try:
                taken = self._pipe.send(view[:_WRITE_BYTES], TICK_S)
            except OSError as error:
                raise self._ended() from error
            self._keep_stderr()
            self._tick(moved=taken > 0)
            view = view[taken:]

    def close_write(self) -> None:
        """Close the command's stdin; a command that is gone already does not mind."""
        self._pipe.end_input()

    def read_exactly(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        while len(self._buffer) < count:
            self._fill(max(_READ_BYTES, count - len(self._buffer)))
        return self._take(count)

    def read_line(self, limit: int) -> bytes:
        """Return the next line without its end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched, limit + 1)) < 0:
            if len(self._buffer) > limit:
                raise HostError(
                    "its answer is no line of the dialogue",
                    where=self._host,
                    expected=f"at most {limit} bytes",
                    found=f"{len(self._buffer)} bytes without a line end",
                    hint="something else writes to stdout there, such as a log-in script",
                )
            searched = len(self._buffer)
            self._fill(_READ_BYTES)
        return self._take(end + 1)[:-1]

    def read_some(self, limit: int) -> bytes:
        """Return what there is, up to `limit` bytes; none at the end."""
        if not self._buffer:
            self._buffer += self._receive(limit)
        return self._take(min(limit, len(self._buffer)))

    def exit_code(self) -> int:
        """Wait for the command's end."""
        while (code := self._pipe.exit_code(TICK_S)) is None:
            self._keep_stderr()
            self._tick(moved=False)
        self._keep_stderr()
        return code

    def stderr(self) -> str:
        """Return the end of stderr, control characters left out."""
        self._keep_stderr()
        text = self._stderr.decode("utf-8", "replace")
        return "".join(char for char in text if char in "\n\t" or char.isprintable())

    def close(self) -> None:
        """End the dialogue."""
        self._pipe.close()

    def _take(self, count: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return taken

    def _fill(self, limit: int) -> None:
        received = self._receive(min(limit, 4 * _READ_BYTES))
        if not received:
            raise self._ended()
        self._buffer += received

    def _receive(self, limit: int) -> bytes:
        while (received := self._pipe.receive(limit, TICK_S)) is None:
            self._keep_stderr()
            self._tick(moved=False)
        self._keep_stderr()
        if received:
            self._tick(moved=True)
        elif self._pipe.lost():
            raise self._gone(self._pipe.lost())
        return received

    def _keep_stderr(self) -> None:
        came = self._pipe.take_stderr()
        if came:
            self._stderr = (self._stderr + came)[-STDERR_BYTES:]

    def _tick(self, *, moved: bool) -> None:
        now = self._clock()
        if moved:
            self._moved = now
        if self._pipe.lost():
            raise self._gone(self._pipe.lost())
        if now - self._begun > self._limits.overall_s:
            raise self._gone(f"the dialogue took longer than {self._limits.overall_s:g} s")
        if moved:
            return
        if self._pipe.silent_s() > self._limits.silent_s:
            raise self._gone(f"the connection went silent: nothing heard for {self._limits.silent_s:g} s")
        if now - self._moved > self._limits.idle_s:
            raise self._gone(
                f"the command did nothing for {self._limits.idle_s:g} s on a connection that lives"
            )

    def _gone(self, problem: str) -> UnreachableError:
        self._pipe.close()
        return UnreachableError(
            problem,
            where=self._host,
            hint="check power and network; the same command again goes on from here",
        )

    def _ended(self) -> HostError:
        """Return the error for a command that no longer reads or writes: it ended, or the connection did."""
        code = self._pipe.exit_code(_AFTER_END_S)
        if self._pipe.lost():
            return self._gone(self._pipe.lost())
        lines = [line.strip() for line in self.stderr().splitlines() if line.strip()]
        said = lines[-1][:300] if lines else ""
        if said.startswith("sudo:"):
            return CommandEndedError(
                f"sudo does not let us become another user: {said}",
                where=self._host,
                exit_code_of_command=code,
                hint="allow the user NOPASSWD in sudoers on the device, or set ansible_become to false",
            )
        how = "was killed, perhaps for want of memory" if code in {-1, 137} else f"exit code {code}"
        return CommandEndedError(
            f"the command ended before it answered ({how})" + (f": {said}" if said else ""),
            where=self._host,
            exit_code_of_command=code,
        )
