"""Work on many hosts at once: one job a host, bounded threads, outcomes in the caller's thread as they finish.

Invariants: at most `forks` jobs run at a time; hosts of one group never run at the same time; a host that fails is a value and stops no
other; a programmer's slip is raised in the caller's thread; after `cancel` nothing new begins.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from ota.core.inventory import Host
from ota.errors import InterruptedRunError, OtaError, UsageError

T = TypeVar("T")

FORKS = 20
"""How many hosts are worked on at once unless a person says otherwise."""

_GRACE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """How a job ended on one host: with a `value`, or with an `error`."""

    host: Host
    value: T | None = None
    error: OtaError | None = None

    def result(self) -> T:
        """Return the value of a job that ended well; raises the error of one that did not."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # None only where T allows it


class Executor(Protocol):
    """A way to run jobs on hosts; threads here, another machine's processes elsewhere. Who is one says how groups run."""

    def run(
        self, job: Callable[[Host], T], hosts: Iterable[Host], *, forks: int = FORKS
    ) -> Iterator[Outcome[T]]:
        """Yield one outcome per host, in the order in which the jobs end.

        Raises:
            UsageError: `forks` is less than 1.
        """
        return self.run_groups(job, [(host,) for host in hosts], forks=forks)

    def run_groups(
        self, job: Callable[[Host], T], groups: Iterable[Sequence[Host]], *, forks: int = FORKS
    ) -> Iterator[Outcome[T]]:
        """Yield one outcome per host; the hosts of a group run one after the other, in order, `forks` groups at once.

        Raises:
            UsageError: `forks` is less than 1.
        """
        ...


class ThreadExecutor(Executor):
    """Jobs in threads of this process.

    `on_cancel` is called once when a run is broken off, by Ctrl-C or by a programmer's slip: it closes the connections, so that what still
    runs ends soon.
    """

    def __init__(self, on_cancel: Callable[[], None] = lambda: None) -> None:
        self._on_cancel = on_cancel
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Let nothing new begin and close what runs; safe to call twice."""
        if not self._cancelled.is_set():
            self._cancelled.set()
            self._on_cancel()

    def run_groups(
        self, job: Callable[[Host], T], groups: Iterable[Sequence[Host]], *, forks: int = FORKS
    ) -> Iterator[Outcome[T]]:
        """Yield one outcome per host, one host of a group at a time; see Executor."""
        if forks < 1:
            raise UsageError("--forks has to be a number from 1", found=str(forks))
        return self._outcomes(_Run(job=job, groups=tuple(groups), cancelled=self._cancelled), forks)

    def _outcomes(self, run: _Run[T], forks: int) -> Iterator[Outcome[T]]:
        try:
            run.start(forks)
            for _ in range(run.total):
                yield run.take()
        except GeneratorExit:
            run.waiting.clear()
            raise
        except BaseException:
            self.cancel()
            run.join(_GRACE_S)
            raise


class _Run(Generic[T]):
    """One call of `run`: the groups that wait, the threads, and the outcomes on their way to the caller."""

    def __init__(
        self, *, job: Callable[[Host], T], groups: Sequence[Sequence[Host]], cancelled: threading.Event
    ) -> None:
        self._job = job
        self._cancelled = cancelled
        self._threads: list[threading.Thread] = []
        self.waiting = deque(groups)
        self.total = sum(len(group) for group in groups)
        self._ended: SimpleQueue[Outcome[T] | BaseException] = SimpleQueue()

    def start(self, forks: int) -> None:
        """Start the threads; they are daemons, so that a job that hangs cannot keep the process alive."""
        for number in range(min(forks, len(self.waiting))):
            thread = threading.Thread(target=self._work, name=f"ota-fork-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def take(self) -> Outcome[T]:
        """Wait for the next outcome; raises what a thread could not make a value of."""
        ended = self._ended.get()
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def join(self, seconds: float) -> None:
        """Wait at most `seconds` for what runs to end."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while True:
            try:
                group = self.waiting.popleft()
            except IndexError:
                return
            for host in group:
                if not self._one(host):
                    return

    def _one(self, host: Host) -> bool:
        if self._cancelled.is_set():
            self._ended.put(InterruptedRunError("the run was stopped before its end"))
            return False
        try:
            self._ended.put(Outcome(host=host, value=self._job(host)))
        except OtaError as error:
            self._ended.put(Outcome(host=host, error=error))
        except BaseException as slip:  # noqa: BLE001  # it is raised again in the caller's thread
            self._ended.put(slip)
            return False
        return True
