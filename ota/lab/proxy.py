"""The links of the lab: a TCP proxy in front of each daemon that lets bytes pass at a rate and after a delay, without root.

One process serves all links. Each direction of a connection has its own rate; what waits is bounded, so that a sender feels the link.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """From `port` to `target`, both on loopback: `rate_kbit` kilobits a second each way, `delay_ms` one way."""

    port: int
    target: int
    rate_kbit: int
    delay_ms: float


class _Direction:
    """One direction of one connection: chunks leave in order, each not before the link has carried it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> None:
        self._reader = reader
        self._writer = writer
        self._bytes_per_s = link.rate_kbit * 125
        self._delay_s = link.delay_ms / 1000
        waiting = self._bytes_per_s * self._delay_s / _CHUNK
        self._under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=int(waiting) + 4)

    async def run(self) -> None:
        """Carry until the sender ends."""
        await asyncio.gather(self._take(), self._deliver())

    async def _take(self) -> None:
        clock = asyncio.get_running_loop().time
        free = clock()
        while True:
            chunk = await self._reader.read(_CHUNK)
            free = max(free, clock()) + len(chunk) / self._bytes_per_s
            await self._under_way.put((free + self._delay_s, chunk))
            if not chunk:
                return
            # The link is busy until then: reading on would only fill memory.
            await asyncio.sleep(max(0.0, free - clock() - 0.02))

    async def _deliver(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, chunk = await self._under_way.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not chunk:
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                return
            self._writer.write(chunk)
            await self._writer.drain()


async def _serve(link: Link) -> asyncio.AbstractServer:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", link.target)
            try:
                await asyncio.gather(
                    _Direction(reader, far_writer, link).run(), _Direction(far_reader, writer, link).run()
                )
            finally:
                far_writer.close()
        writer.close()

    return await asyncio.start_server(connection, "127.0.0.1", link.port)


async def _main(links: tuple[Link, ...]) -> None:
    servers = [await _serve(link) for link in links]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def main(path: str) -> None:
    """Serve the links in the JSON file at `path` until the process is ended."""
    links = tuple(Link(**fields) for fields in json.loads(Path(path).read_text(encoding="utf-8")))
    asyncio.run(_main(links))
