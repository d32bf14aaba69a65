"""Power cuts at random moments: a machine is led through cycles, its power is cut, it is started again, judged, and led on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ota.errors import OtaError
from ota.remote.device import Device
from ota.remote.transport import Transport

from .cycle import MODEL, Course, converged, cycle, deploy, judged, shipment
from .machine import Machine

_PYTHON = "/usr/bin/python3"
_ROOT = "/root/ota"
_LONGER = 1.1


@dataclass(slots=True)
class Tally:
    """What came of the cuts: how many, in which step each fell, and what was wrong after it; `run_s` is an undisturbed run, recovery included."""

    cuts: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    run_s: float = 0.0
    seconds: float = 0.0

    @property
    def inside(self) -> int:
        """How many cuts fell inside of a request."""
        return self.cuts - self.steps["nothing"]


class Trial:
    """One machine and its course."""

    def __init__(self, machine: Machine, folder: Path, seed: int) -> None:
        self.tally = Tally()
        self._machine = machine
        self._folder = folder
        self._random = random.Random(seed)
        self._course = Course()
        self._number = 0

    def prepare(self) -> None:
        """Bring the first release to a machine that has none, and measure what a run takes; the first one only fills caches."""
        with self._device(self._machine.power_on()) as device:
            deploy(device, shipment(0), self._folder, self._course)
            for _ in range(2):
                began = time.monotonic()
                self._run(device)
                self.tally.run_s = time.monotonic() - began
        self._machine.cut()

    def cut(self) -> None:
        """Start the machine, judge its disk, lead it on, and cut its power within 1.1 times what that takes."""
        transport = self._machine.power_on()
        self._judge(transport)
        is_cut = threading.Event()

        def cut() -> None:
            is_cut.set()
            self.tally.steps[self._course.step] += 1
            self._machine.cut()

        with self._device(transport) as device:
            timer = threading.Timer(self._random.uniform(0, _LONGER * self.tally.run_s), cut)
            timer.start()
            began = time.monotonic()
            try:
                self._run(device)
                # A busy controller measures too long a run at first, and most cuts would come after the end.
                self.tally.run_s = min(self.tally.run_s, time.monotonic() - began)
            except OtaError as error:
                if not is_cut.is_set():
                    self._bad(f"the next run fails: {error}")
            timer.join()
        self.tally.cuts += 1

    def end(self) -> None:
        """Judge the disk that the last cut left, and lead the machine on once more, in peace."""
        transport = self._machine.power_on()
        self._judge(transport)
        with self._device(transport) as device:
            try:
                self._run(device)
            except OtaError as error:
                self._bad(f"the next run fails: {error}")
        self._machine.cut()

    def _run(self, device: Device) -> None:
        """Converge on the release of the last cycle, then go through the next one."""
        self._course.begin("recovery")
        number = self._number
        found = converged(device, shipment(max(0, number - 1)), shipment(number), self._folder, self._course)
        if found:
            self._bad(found)
        self._number = number + 1
        cycle(device, shipment(number + 1), self._folder, self._course)

    def _judge(self, transport: Transport) -> None:
        found = judged(transport, _PYTHON, _ROOT, self._course)
        if found:
            self._bad(found)

    def _bad(self, what: str) -> None:
        self.tally.bad.append(f"after cut {self.tally.cuts} in {self._course.step}: {what}")

    def _device(self, transport: Transport) -> Device:
        return Device.open(self._machine.host, transport, model=MODEL, root=_ROOT, python=_PYTHON)


def cut_often(
    cuts: int, folder: Path, *, machines: int = 2, seed: int = 0, tell: Callable[[str], None] = lambda _: None
) -> Tally:
    """Cut the power so many times in all, on several machines side by side, and return what came of it."""
    shares = [cuts // machines + (lane < cuts % machines) for lane in range(machines)]
    whole = Tally()
    began = time.monotonic()
    with ThreadPoolExecutor(machines) as pool:
        lanes = [
            pool.submit(_lane, share, folder / f"machine-{lane}", seed + lane, tell)
            for lane, share in enumerate(shares)
            if share
        ]
        for lane in lanes:
            part = lane.result()
            whole.cuts += part.cuts
            whole.steps += part.steps
            whole.bad += part.bad
            whole.run_s = max(whole.run_s, part.run_s)
    whole.seconds = time.monotonic() - began
    return whole


def _lane(cuts: int, folder: Path, seed: int, tell: Callable[[str], None]) -> Tally:
    with Machine(folder) as machine:
        trial = Trial(machine, folder, seed)
        trial.prepare()
        tally = trial.tally
        try:
            while tally.cuts < cuts:
                trial.cut()
                if tally.cuts % 10 == 0:
                    tell(f"{folder.name}: {tally.cuts} of {cuts} cuts, {len(tally.bad)} bad")
            trial.end()
        except (RuntimeError, OtaError) as error:
            tally.bad.append(f"after cut {tally.cuts} the machine cannot be used: {error}")
        return tally
