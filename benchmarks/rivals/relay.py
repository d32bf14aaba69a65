"""A long line for every device of a fleet in one network namespace: frames between two TAP interfaces, with a rate, a delay and seeded loss.

Run as root in the controller's namespace: python relay.py PID NEAR FAR RATE_KBIT DELAY_MS LOSS_PERCENT. PID is a process of the devices' namespace, to which the
interface FAR is moved. Each device, told by its address, has a line of its own, each way. Made for kernels without netem. Ends by SIGTERM.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import selectors
import struct
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field

_TUNSETIFF, _TAP, _NO_PI = 0x400454CA, 0x0002, 0x1000
_IPV4 = b"\x08\x00"
_BURST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a line carries each way: kbit/s, milliseconds one way, lost frames in percent; it holds `queue_s` seconds of frames, those beyond are lost."""

    rate_kbit: float
    delay_ms: float
    loss_percent: float
    queue_s: float = 0.5


@dataclass
class Lines:
    """The frames under way; `enter` says when one leaves, None where it is lost."""

    line: Line
    seed: int = 1
    busy_until: dict[bytes, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def enter(self, now: float, way: bytes, size: int) -> float | None:
        """Take a frame of `size` bytes on one `way` at `now`, seconds; return when it arrives."""
        if self._random.random() * 100 < self.line.loss_percent:
            return None
        ends = max(now, self.busy_until[way]) + size * 8 / (self.line.rate_kbit * 1000)
        if ends - now > self.line.queue_s:
            return None
        self.busy_until[way] = ends
        return ends + self.line.delay_ms / 1000


def tap(name: str) -> int:
    """Make a TAP interface and return its file descriptor."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP | _NO_PI))
    return handle


def way_of(frame: bytes, *, down: bool) -> bytes | None:
    """Return which line and direction an IPv4 frame takes; None for another, such as ARP's, which no line holds up."""
    if frame[12:14] != _IPV4:
        return None
    return b"d" + frame[30:34] if down else b"u" + frame[26:30]


def carry(near: int, far: int, line: Line) -> None:
    """Carry frames until the process is ended."""
    selector = selectors.DefaultSelector()
    selector.register(near, selectors.EVENT_READ, far)
    selector.register(far, selectors.EVENT_READ, near)
    lines = Lines(line)
    waiting: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        wait = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for key, _ in selector.select(wait):
            for frame in _frames(key.fd):
                now = time.monotonic()
                way = way_of(frame, down=key.fd == near)
                at = now if way is None else lines.enter(now, way, len(frame))
                if at is not None:
                    number += 1
                    heapq.heappush(waiting, (at, number, key.data, frame))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, out, frame = heapq.heappop(waiting)
            with suppress(OSError):  # an interface that is not up yet loses it
                os.write(out, frame)


def _frames(handle: int) -> list[bytes]:
    frames: list[bytes] = []
    try:
        while len(frames) < _BURST:
            frames.append(os.read(handle, 65536))
    except BlockingIOError:
        pass
    return frames


def main() -> None:
    """Make both interfaces, hand the far one over, say so, and carry."""
    pid, near_name, far_name, rate, delay, loss = sys.argv[1:]
    near, far = tap(near_name), tap(far_name)
    subprocess.run(["ip", "link", "set", far_name, "netns", pid], check=True)
    print("ready", flush=True)
    carry(near, far, Line(rate_kbit=float(rate), delay_ms=float(delay), loss_percent=float(loss)))


if __name__ == "__main__":
    main()
