"""Devices that answer as the agent does and are not there: a fleet of any size behind the transport's interface, with a clock of its own.

A device keeps what a deployment asks of it (files held, releases staged, what is current and on trial) and answers at once; what its work and its link would take is
counted in virtual seconds. `VirtualExecutor` carries jobs out one after the other and yields them in the order in which `forks` workers would have ended them.
"""

from __future__ import annotations

import heapq
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ota.core.inventory import Host
from ota.core.protocol import PROTOCOL_VERSION
from ota.errors import OtaError, UnreachableError
from ota.remote.bootstrap import MARK
from ota.remote.executor import FORKS, Executor, Outcome

T = TypeVar("T")
ROOT = "/home/pi/ota"
_RUNTIME = {
    "id": "ai-edge-litert-2.3.0-cp311",
    "package": "ai-edge-litert",
    "version": "2.3.0",
    "python": "/usr/bin/python3",
    "wheel_sha256": "",
}
_FACTS = {
    "boot_id": "b", "architecture": "aarch64", "python": [3, 11, 2], "python_executable": "/usr/bin/python3", "python_bits": 64,
    "libc": "glibc 2.36", "system_numpy": "", "memory_total_bytes": 1 << 30, "memory_available_bytes": 1 << 29, "disk_free_bytes": 1 << 34,
    "cpu_model": "Cortex-A72", "cpu_count": 4, "os": "Debian GNU/Linux 12", "kernel": "6.1", "hostname": "pi", "root": ROOT,
    "runtimes": [_RUNTIME], "board_revision": "", "serial_sha256": "", "firmware": "", "cpu_features": [], "affinity": [0, 1, 2, 3],
    "clock_limits_khz": [], "clock_source": "",
}  # fmt: skip
_CONDITIONS = {
    "throttled": None, "clock_khz": [], "governor": "", "temperature_c": None, "load_1m": 0.0, "boot_id": "b", "memory_available_bytes": None,
}  # fmt: skip


@dataclass(slots=True)
class SimulatedDevice:
    """One device; `dead` lets nobody in, `answer_s` is what each answer takes and `bytes_per_s` its link, in virtual seconds; `clock` is what passed there."""

    name: str
    dead: bool = False
    answer_s: float = 0.05
    bytes_per_s: float = 1e6
    clock: float = 0.0
    activations: int = 0
    held: set[str] = field(default_factory=set)
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)
    current: str | None = None
    previous: str | None = None
    pending: str | None = None

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return the answer to a request and the bytes behind it."""
        self.clock += self.answer_s
        return _ANSWERS[request["op"]](self, request)

    def digest(self, release: str | None) -> str | None:
        """Return the digest of a release's model."""
        if release is None:
            return None
        return next(a["sha256"] for a in self.releases[release]["artifacts"] if a["name"] == "model.tflite")


def _slot(device: SimulatedDevice, _: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    held = [
        {"id": name, "intact": True, "model_sha256": device.digest(name), "setting": one.get("setting")}
        for name, one in device.releases.items()
    ]
    said = {
        "model": next((one["model"] for one in device.releases.values()), None), "current": device.current, "previous": device.previous,
        "pending": device.pending, "current_sha256": device.digest(device.current), "rolled_back_from": None, "keyring": 0, "reverted": None,
        "releases": held, "disk_free_bytes": 1 << 34,
    }  # fmt: skip
    return said, b""


def _held(device: SimulatedDevice, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    return {"held": [digest for digest in request["digests"] if digest in device.held], "begun": []}, b""


def _bench(_: SimulatedDevice, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    turn = {"load_ns": 1, "cold_ns": 1, "warmup": 0, "inferences": 1, "output_shape": [1, 1]}
    watch = {"before": _CONDITIONS, "after": _CONDITIONS, "seconds": 0.1, "busy_other": 0.0, "stolen": 0.0}
    count = len(request["turns"])
    return {"turns": [turn] * count, "watch": watch}, struct.pack("<qf", 1000, 0.5) * count


def _stage(device: SimulatedDevice, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    changed = request["release"] not in device.releases
    device.releases[request["release"]] = json.loads(request["manifest"])
    return {"changed": changed}, b""


def _activate(device: SimulatedDevice, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    changed = device.current != request["release"]
    if changed:
        device.activations += 1
        device.previous, device.current = device.current, request["release"]
        device.pending = device.current
    return {
        "current": device.current,
        "current_sha256": device.digest(device.current),
        "changed": changed,
    }, b""


def _confirm(device: SimulatedDevice, _: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    device.pending = None
    return {}, b""


def _nothing(_device: SimulatedDevice, _request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    return {"removed": [], "exit_code": 0, "output": ""}, b""


def _journal(_device: SimulatedDevice, _request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    nothing = "0" * 64
    return {"journal": {"lines": 0, "torn": 0, "broken": None, "head": nothing, "earlier": nothing}}, b""


_ANSWERS: dict[str, Callable[[SimulatedDevice, dict[str, Any]], tuple[dict[str, Any], bytes]]] = {
    "facts": lambda _device, _request: (_FACTS, b""),
    "slot": _slot,
    "held": _held,
    "journal": _journal,
    "ready": _nothing,
    "admit": _nothing,
    "stage": _stage,
    "activate": _activate,
    "bench": _bench,
    "run": _nothing,
    "confirm": _confirm,
    "prune": _nothing,
}


class SimulatedTransport:
    """A way to a simulated device; a `Transport`. UnreachableError where it is dead, after `connect_s` virtual seconds."""

    def __init__(self, device: SimulatedDevice, connect_s: float = 10.0) -> None:
        if device.dead:
            device.clock += connect_s
            raise UnreachableError("no route to host", where=device.name)
        self._device = device

    @property
    def address(self) -> str:
        """Where it leads."""
        return f"simulated:{self._device.name}"

    @property
    def round_trip_s(self) -> float:
        """As long as it takes to answer."""
        return self._device.answer_s

    def open(self, argv: Sequence[str]) -> SimulatedChannel:  # noqa: ARG002 - a Transport
        """Start the agent, whatever the words are."""
        return SimulatedChannel(self._device)

    def close(self) -> None:
        """Leave."""


class SimulatedChannel:
    """A dialogue with a simulated device; a `Channel` that never waits."""

    def __init__(self, device: SimulatedDevice) -> None:
        self._device = device
        self._said = bytearray(b"\n%s have\n" % MARK)
        self._heard = bytearray()
        self._put: dict[str, Any] | None = None
        self._left = 0
        self._tell({"hello": PROTOCOL_VERSION, "root": ROOT, "nonce": ""})

    def write(self, data: bytes | memoryview) -> None:
        """Take a request or the bytes of a file."""
        self._device.clock += len(data) / self._device.bytes_per_s
        self._heard += data
        while self._heard:
            if self._left:
                taken = min(self._left, len(self._heard))
                del self._heard[:taken]
                self._left -= taken
                if not self._left and self._put is not None:
                    self._device.held.add(self._put["digest"])
                    self._tell({"ok": True, "sent": self._put["size"]})
                continue
            line, found, rest = self._heard.partition(b"\n")
            if not found:
                return
            self._heard = rest
            self._take(json.loads(line))

    def _take(self, request: dict[str, Any]) -> None:
        if request["op"] == "put":
            if request["digest"] in self._device.held:
                self._tell({"ok": True, "sent": 0})
            else:
                self._put, self._left = request, request["size"]
                if "follows" not in request:
                    self._tell({"event": "send", "start": 0})
            return
        fields, body = self._device.answer(request)
        self._tell({**fields, "ok": True, **({"body": len(body)} if body else {})}, body)

    def _tell(self, fields: dict[str, Any], body: bytes = b"") -> None:
        self._said += json.dumps(fields).encode() + b"\n" + body

    def close_write(self) -> None:
        """Say that nothing more comes."""

    def read_exactly(self, count: int) -> bytes:
        """Return so many bytes."""
        taken = bytes(self._said[:count])
        del self._said[:count]
        return taken

    def read_line(self, limit: int) -> bytes:  # noqa: ARG002 - a Channel
        """Return a line."""
        line, _, rest = self._said.partition(b"\n")
        self._said = rest
        return bytes(line)

    def read_some(self, limit: int) -> bytes:
        """Return what there is."""
        return self.read_exactly(min(limit, len(self._said)))

    def exit_code(self) -> int:
        """Return how the agent ended."""
        return 0

    def stderr(self) -> str:
        """Return nothing."""
        return ""

    def close(self) -> None:
        """Leave."""


class VirtualExecutor(Executor):
    """Jobs one after the other in this thread, yielded in the order in which `forks` workers would have ended them; an `Executor`.

    `clock` says how many virtual seconds have passed on a host; `now` is the virtual time of the last outcome, `ended` that of each host.
    """

    def __init__(self, clock: Callable[[str], float]) -> None:
        self._clock = clock
        self.now = 0.0
        self.ended: dict[str, float] = {}

    def run_groups(
        self, job: Callable[[Host], T], groups: Iterable[Sequence[Host]], *, forks: int = FORKS
    ) -> Iterator[Outcome[T]]:
        """Yield one outcome per host in virtual order; a worker takes a group when it is free."""
        free = [self.now] * forks
        ends: list[tuple[float, int, Outcome[T]]] = []
        for number, group in enumerate(groups):
            at = heapq.heappop(free)
            for host in group:
                before = self._clock(host.name)
                outcome = _outcome(job, host)
                at += self._clock(host.name) - before
                self.ended[host.name] = at
                heapq.heappush(ends, (at, number, outcome))
            heapq.heappush(free, at)
            # What ends before any worker is free again ends now.
            while ends and ends[0][0] <= free[0]:
                yield self._passed(heapq.heappop(ends))
        while ends:
            yield self._passed(heapq.heappop(ends))

    def _passed(self, end: tuple[float, int, Outcome[T]]) -> Outcome[T]:
        self.now = max(self.now, end[0])
        return end[2]


def _outcome(job: Callable[[Host], T], host: Host) -> Outcome[T]:
    try:
        return Outcome(host=host, value=job(host))
    except OtaError as error:
        return Outcome(host=host, error=error)
