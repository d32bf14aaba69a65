"""A few processes that make files and who does what: the schemes are handed out one by one, to whoever is free.

Invariants: a process that dies or hangs costs the scheme it was at and no other; outcomes arrive in the caller's thread; none of the processes
outlives the pool.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ota.core.measurement import Failure, FailureKind
from ota.core.scheme import Scheme
from ota.quantize.dataset import Dataset
from ota.quantize.process import ChildProcess, Program

Outcome = tuple[str, bytes | Failure]
"""A scheme's name, and its .tflite or why there is none."""


class UnloadableError(Exception):
    """No process can load the network; the message says why."""


class Pool:
    """At most `jobs` processes that run `program` and have loaded what `job` names, or are about to; a context manager.

    `folder` is where files pass; `limit_s` is how long one scheme may take.
    """

    def __init__(
        self, program: Program, job: Mapping[str, Any], *, folder: Path, jobs: int, limit_s: float
    ) -> None:
        self._program = program
        self._job = job
        self._folder = folder
        self._jobs = jobs
        self._limit_s = limit_s
        self._processes: list[ChildProcess] = []
        self._deadlines: dict[int, float] = {}

    def __enter__(self) -> Pool:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.close()
        self._processes.clear()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the children."""
        return tuple(process.pid for process in self._processes)

    def run(
        self, schemes: Sequence[Scheme], representative: Dataset | None, *, ahead: int = 0
    ) -> Iterator[Outcome]:
        """Yield the outcome of each of `schemes` as it is ready.

        `ahead` more will be asked for later: processes are started for them too, and load the network meanwhile.

        Raises:
            UnloadableError: the network cannot be loaded, or is of a kind that cannot be measured.
        """
        pending = deque(schemes)
        data = self._write_samples(representative)
        while True:
            self._start(min(self._jobs, len(pending) + self._busy() + ahead))
            for process in self._processes:
                if process.scheme is None and pending:
                    self._ask(process, pending.popleft(), data)
            if not self._busy():
                return
            for process in self._wait():
                yield from self._hear(process)

    def _busy(self) -> int:
        return sum(process.scheme is not None for process in self._processes)

    def _start(self, count: int) -> None:
        while len(self._processes) < count:
            self._processes.append(ChildProcess(self._program, self._job))

    def _write_samples(self, representative: Dataset | None) -> dict[str, Any]:
        if representative is None:
            return {"samples": "", "scale": [1.0], "offset": [0.0]}
        path = self._folder / f"{representative.digest.hex}.npy"
        if not path.exists():
            np.save(path, representative.samples, allow_pickle=False)
        return {
            "samples": str(path),
            "scale": list(representative.scale),
            "offset": list(representative.offset),
        }

    def _ask(self, process: ChildProcess, scheme: Scheme, data: dict[str, Any]) -> None:
        own = data if scheme.representative else {**data, "samples": ""}
        process.ask(scheme.name, {"output": str(self._output(scheme.name)), **own})
        self._deadlines[process.pid] = time.monotonic() + self._limit_s

    def _output(self, scheme: str) -> Path:
        return self._folder / f"{scheme}.tflite"

    def _wait(self) -> list[ChildProcess]:
        """Return the processes that have something to say, at least one; those over their time are killed and say it by ending."""
        with selectors.DefaultSelector() as selector:
            for process in self._processes:
                selector.register(process, selectors.EVENT_READ, process)
            while True:
                nearest = min(self._deadlines[p.pid] for p in self._processes if p.scheme is not None)
                ready = selector.select(max(0.0, nearest - time.monotonic()))
                if ready:
                    return [key.data for key, _ in ready]
                for process in self._processes:
                    if process.scheme is not None and self._deadlines[process.pid] <= time.monotonic():
                        process.stop(f"took longer than {self._limit_s:g} s")

    def _hear(self, process: ChildProcess) -> Iterator[Outcome]:
        answers = process.answers()
        if answers is None:
            self._processes.remove(process)
            if process.scheme is not None:
                yield process.scheme, _failure(process.scheme, process.why_gone())
            process.close()
            return
        for answer in answers:
            if "fatal" in answer:
                raise UnloadableError(answer["fatal"])
            process.scheme = None
            yield answer["scheme"], self._outcome(answer)

    def _outcome(self, answer: dict[str, str]) -> bytes | Failure:
        if "problem" in answer:
            return _failure(answer["scheme"], answer["problem"])
        return self._output(answer["scheme"]).read_bytes()


def _failure(scheme: str, reason: str) -> Failure:
    return Failure(scheme=scheme, kind=FailureKind.CONVERSION, reason=reason)
