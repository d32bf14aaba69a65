"""The lines to the virtual devices: a TCP relay with a rate and a delay per device, run as a program of its own.

Run as `python link.py MARK` with a JSON document on stdin: `lines`, a list of {"port_file", "rate_kbit", "delay_ms"}; `listeners`, the file descriptors of
as many sockets that listen already; `pid_file`. MARK is what the process is known by. It goes to the background by itself. A line is shared by its
connections, as a real one is. `port_file` is read at each connection: a daemon may come back on another port. Imports nothing of `ota`, so that it
starts in any folder and under any installation.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HOST = "127.0.0.1"
_BUFFER_S = 0.05  # what a line holds before the sender has to wait
_PIECE_S = 0.005  # bytes travel in pieces that take this long, so that slow lines are smooth
_PIECES_UNDER_WAY = 256


class Way:
    """One direction of a line: says when a piece that enters now leaves at the other end, in the loop's seconds."""

    def __init__(self, *, rate_kbit: int, delay_ms: float) -> None:
        self._bytes_per_s = rate_kbit * 125
        self._delay_s = delay_ms / 1000
        self._busy_until = 0.0
        self.piece_bytes = max(512, min(65536, int(self._bytes_per_s * _PIECE_S)))

    def enter(self, now: float, count: int) -> tuple[float, float]:
        """Take `count` bytes; return when the last of them arrives, and how long the sender waits before the next."""
        self._busy_until = max(self._busy_until, now) + count / self._bytes_per_s
        return self._busy_until + self._delay_s, max(0.0, self._busy_until - now - _BUFFER_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Both ways of one device's line, and the file that says on which port its daemon listens."""

    port_file: Path
    up: Way
    down: Way

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until both sides have ended it, or either was cut."""
        try:
            port = int(self.port_file.read_text(encoding="ascii"))
            far_reader, far_writer = await asyncio.open_connection(_HOST, port)
        except (OSError, ValueError):
            _reset(writer)  # the daemon is gone: as from a board that is starting
            return
        try:
            await _until_done(
                *_carry(reader, far_writer, self.up),
                *_carry(far_reader, writer, self.down),
            )
        except OSError:
            _reset(writer)
            _reset(far_writer)
        finally:
            writer.close()
            far_writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection so that the other side sees a fault, and no orderly end."""
    connection: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):  # it may have ended meanwhile
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
) -> tuple[asyncio.Task[None], asyncio.Task[None]]:
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES_UNDER_WAY)
    return asyncio.create_task(_take(reader, under_way, way)), asyncio.create_task(_give(under_way, writer))


async def _take(
    reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]], way: Way
) -> None:
    """Put pieces on the way until the sender has ended; an empty piece says so."""
    loop = asyncio.get_running_loop()
    piece = b" "
    while piece:
        piece = await reader.read(way.piece_bytes)
        arrival, wait = way.enter(loop.time(), len(piece))
        await under_way.put((arrival, piece))
        if wait:
            await asyncio.sleep(wait)


async def _give(under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    """Hand each piece over when its time has come."""
    loop = asyncio.get_running_loop()
    while True:
        arrival, piece = await under_way.get()
        wait = arrival - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        if not piece:
            writer.write_eof()
            return
        writer.write(piece)
        await writer.drain()


async def _until_done(*tasks: asyncio.Task[None]) -> None:
    """Wait for all; where one fails the others end with it, and its OSError is raised."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()


def line_of(entry: dict[str, Any]) -> Line:
    """Return the line that an entry of `lines` describes."""
    way = {"rate_kbit": entry["rate_kbit"], "delay_ms": entry["delay_ms"]}
    return Line(port_file=Path(entry["port_file"]), up=Way(**way), down=Way(**way))


async def serve(lines: Sequence[Line], listeners: Sequence[socket.socket]) -> None:
    """Carry every connection to the listeners until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    servers = [
        await asyncio.start_server(line.accept, sock=listener)
        for line, listener in zip(lines, listeners, strict=True)
    ]
    await ended.wait()
    for server in servers:
        server.close()


def main() -> None:
    """Go to the background, leave the pid behind, and serve."""
    asked = json.load(sys.stdin)
    lines = [line_of(entry) for entry in asked["lines"]]
    listeners = [socket.socket(fileno=number) for number in asked["listeners"]]
    pid = os.fork()
    if pid:
        Path(asked["pid_file"]).write_text(f"{pid}\n", encoding="ascii")
        return
    os.setsid()
    asyncio.run(serve(lines, listeners))


if __name__ == "__main__":
    main()
