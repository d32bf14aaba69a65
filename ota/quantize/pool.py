"""A few converting processes and who does what: the schemes are handed out one by one, to whoever is free.

Invariants: a process that dies or hangs costs the scheme it was at and no other; outcomes arrive in the caller's thread; none of the processes
outlives the pool.
"""

from __future__ import annotations

import selectors
import tempfile
import time
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ota.core.measurement import Failure, FailureKind
from ota.core.scheme import Scheme, SourceKind
from ota.errors import ContentError, Fault
from ota.quantize.dataset import Dataset
from ota.quantize.process import ConverterProcess
from ota.quantize.source import ModelSource

Outcome = tuple[str, bytes | Failure]
"""A scheme's name, and its .tflite or why there is none."""


class Pool:
    """At most `jobs` processes that have loaded `source`, or are about to; a context manager.

    `threads` is how many each may compute with, `limit_s` how long one scheme may take.
    """

    def __init__(self, source: ModelSource, *, jobs: int, threads: int, limit_s: float) -> None:
        self._source = source
        self._jobs = jobs
        self._threads = threads
        self._limit_s = limit_s
        self._processes: list[ConverterProcess] = []
        self._deadlines: dict[int, float] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="ota-convert-")
        self._loadable = _loadable(source, Path(self._folder.name))

    def __enter__(self) -> Pool:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.close()
        self._processes.clear()
        self._folder.cleanup()

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
            ContentError: the network cannot be loaded, or is of a kind that cannot be measured.
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
            self._processes.append(ConverterProcess(self._loadable, self._source.kind, threads=self._threads))

    def _write_samples(self, representative: Dataset | None) -> dict[str, Any]:
        if representative is None:
            return {"samples": "", "scale": [1.0], "offset": [0.0]}
        path = Path(self._folder.name) / f"{representative.digest.hex}.npy"
        np.save(path, representative.samples, allow_pickle=False)
        return {
            "samples": str(path),
            "scale": list(representative.scale),
            "offset": list(representative.offset),
        }

    def _ask(self, process: ConverterProcess, scheme: Scheme, data: dict[str, Any]) -> None:
        own = data if scheme.representative else {**data, "samples": ""}
        process.ask(scheme.name, {"output": str(self._output(scheme.name)), **own})
        self._deadlines[process.pid] = time.monotonic() + self._limit_s

    def _output(self, scheme: str) -> Path:
        return Path(self._folder.name) / f"{scheme}.tflite"

    def _wait(self) -> list[ConverterProcess]:
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

    def _hear(self, process: ConverterProcess) -> Iterator[Outcome]:
        answers = process.answers()
        if answers is None:
            self._processes.remove(process)
            if process.scheme is not None:
                yield process.scheme, _failure(process.scheme, process.why_gone())
            process.close()
            return
        for answer in answers:
            if "fatal" in answer:
                raise self._unusable(answer["fatal"])
            process.scheme = None
            yield answer["scheme"], self._outcome(answer)

    def _unusable(self, reason: str) -> ContentError:
        hint = (
            "a network with layers of your own can be handed in as a SavedModel" if "locate" in reason else ""
        )
        problem = f"the network cannot be used: {reason}"
        return ContentError(Fault(file=str(self._source.path), problem=problem, hint=hint))

    def _outcome(self, answer: dict[str, str]) -> bytes | Failure:
        if "problem" in answer:
            return _failure(answer["scheme"], answer["problem"])
        return self._output(answer["scheme"]).read_bytes()


def _loadable(source: ModelSource, folder: Path) -> Path:
    """Return the network's path with a suffix that Keras takes: it goes by names, and sources are recognised by content."""
    path = source.path.absolute()
    if source.kind is not SourceKind.KERAS or path.suffix in {".keras", ".h5", ".hdf5"}:
        return path
    link = folder / ("source.keras" if zipfile.is_zipfile(path) else "source.h5")
    link.symlink_to(path)
    return link


def _failure(scheme: str, reason: str) -> Failure:
    return Failure(scheme=scheme, kind=FailureKind.CONVERSION, reason=reason)
