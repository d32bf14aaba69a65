from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ota.lab.fleet import LabState
from ota.lab.lab import down
from ota.lab.link import Way

StartLab = Callable[..., LabState]


class EchoServer:
    """A program in the place of the daemon: sends back all that it got once the sender has ended, or at once."""

    def __init__(self, port_file: Path, *, at_once: bool) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._at_once = at_once
        port_file.write_text(f"{self._listener.getsockname()[1]}\n")
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more connections; may be called again."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close() alone would not wake the thread that accepts
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            kept = b""
            while piece := connection.recv(65536):
                kept += piece
                if self._at_once:
                    connection.sendall(piece)
            if not self._at_once:
                connection.sendall(hashlib.sha256(kept).digest())


@pytest.fixture
def line(start_lab: StartLab) -> Iterator[Callable[..., tuple[int, EchoServer]]]:
    """Return a maker of a line with an echo at its end in place of the daemon: its port, and the echo."""
    servers: list[EchoServer] = []
    folders: list[Path] = []

    def make(
        *, at_once: bool = False, rate_kbit: int = 1_000_000, delay_ms: int = 0
    ) -> tuple[int, EchoServer]:
        lab = start_lab(1, rate_kbit=rate_kbit, delay_ms=delay_ms)
        folders.append(Path(lab.folder))
        servers.append(EchoServer(Path(lab.folder, "sorter-1", "port"), at_once=at_once))
        return lab.devices[0].port, servers[-1]

    yield make
    for server in servers:
        server.close()
    for folder in folders:
        down(folder)


def send(port: int, content: bytes) -> bytes:
    """Send bytes, end, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def listen_to(port: int) -> bytes:
    """Connect and return the first byte that comes of itself."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        return connection.recv(1)


def test_every_byte_arrives_and_an_end_is_passed_on(line: Callable[..., tuple[int, EchoServer]]) -> None:
    """8 MB arrive unchanged, and the answer comes after the sender's side has ended."""
    port, _ = line()
    content = os.urandom(8 << 20)
    assert send(port, content) == hashlib.sha256(content).digest()


def test_a_rate_holds(line: Callable[..., tuple[int, EchoServer]]) -> None:
    """500 kB at 8 Mbit/s take half a second, less what the line buffers."""
    port, _ = line(rate_kbit=8000)
    started = time.monotonic()
    send(port, bytes(500_000))
    assert 0.45 <= time.monotonic() - started < 4


def test_connections_share_their_line(line: Callable[..., tuple[int, EchoServer]]) -> None:
    """Two transfers at once over one line take as long as one of both their sizes."""
    port, _ = line(rate_kbit=8000)
    senders = [threading.Thread(target=send, args=(port, bytes(250_000))) for _ in range(2)]
    started = time.monotonic()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert 0.45 <= time.monotonic() - started < 4


def test_a_delay_is_one_way_each_way(line: Callable[..., tuple[int, EchoServer]]) -> None:
    """A question and its answer take twice the delay."""
    port, _ = line(at_once=True, delay_ms=60)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        started = time.monotonic()
        connection.sendall(b"?")
        assert connection.recv(1) == b"?"
    assert 0.12 <= time.monotonic() - started < 3


def test_a_daemon_that_is_gone_is_a_reset(line: Callable[..., tuple[int, EchoServer]]) -> None:
    """Where nothing listens behind the line the connection is reset, and not left open."""
    port, server = line()
    server.close()
    with pytest.raises(ConnectionResetError):
        listen_to(port)


@pytest.mark.parametrize(
    ("rate_kbit", "delay_ms", "pieces", "arrivals"),
    [
        (8, 0, [(0.0, 1000)], [1.0]),
        (8, 500, [(0.0, 1000)], [1.5]),
        (8, 0, [(0.0, 1000), (0.0, 1000)], [1.0, 2.0]),
        (8, 0, [(0.0, 1000), (5.0, 1000)], [1.0, 6.0]),
    ],
    ids=["rate", "rate and delay", "one waits for the other", "an idle line saves nothing up"],
)
def test_when_pieces_arrive(
    rate_kbit: int, delay_ms: int, pieces: list[tuple[float, int]], arrivals: list[float]
) -> None:
    """A piece arrives when the line has carried all before it and itself, and then the delay."""
    way = Way(rate_kbit=rate_kbit, delay_ms=delay_ms)
    assert [way.enter(now, count)[0] for now, count in pieces] == pytest.approx(arrivals)


@pytest.mark.parametrize(
    ("rate_kbit", "size"), [(100, 512), (8000, 5000), (100_000, 62500), (1_000_000, 65536)]
)
def test_pieces_suit_the_rate(rate_kbit: int, size: int) -> None:
    """Pieces take five milliseconds, between half a kilobyte and 64."""
    assert Way(rate_kbit=rate_kbit, delay_ms=0).piece_bytes == size


def test_a_sender_waits_once_the_line_is_full() -> None:
    """Up to 50 ms of bytes are taken at once; then the sender waits for the rest of the time they need."""
    way = Way(rate_kbit=8000, delay_ms=0)
    assert way.enter(0.0, 50_000)[1] == 0.0
    assert way.enter(0.0, 50_000)[1] == pytest.approx(0.05)
