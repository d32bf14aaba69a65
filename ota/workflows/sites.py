"""The sites of a rollout: their workers, and the letters that come from them, sorted to the threads that wait for their hosts.

Invariants: the rules of the rollout, its journal, its store and its keys stay here; a worker that runs another `ota` is given nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from ota.core.connection import connection_of
from ota.core.host_state import HostOutcome
from ota.core.inventory import Host
from ota.core.rollout_log import HostFound
from ota.errors import InterruptedRunError, OtaError, UnreachableError, UsageError
from ota.remote.scheduler import JobState, Letter, Scheduler, Worker
from ota.workflows.heads import NotedHeads
from ota.workflows.letters import (
    Hello,
    identity,
    opened,
    sealed,
)
from ota.workflows.order import Elsewhere, Ends, JobName, Order, Return
from ota.workflows.served import TAKEN_OVER, Book, Served, other_ota

_HELLO_S = 20.0
_LOOK_S = 1.0


class Sites:
    """A context manager around the rollouts of one command; `serve` is what a worker calls with the run and a host.

    Raises:
        UnreachableError: the scheduler has no worker.
        UsageError: a worker runs another `ota`, or none.
    """

    def __init__(
        self, scheduler: Scheduler, *, hello: Callable[[str, str], None], serve: Callable[[str, str], None]
    ) -> None:
        self.scheduler = scheduler
        self.serve = serve
        self._hello = hello
        self._boxes: dict[str, SimpleQueue[Letter]] = {}
        self._closed = threading.Event()
        self._refused: set[str] = set()
        self.lost: OtaError | None = None
        self._reader = threading.Thread(target=self._read, name="ota-letters", daemon=True)

    def __enter__(self) -> Sites:  # noqa: PYI034 - Self is not in 3.10
        self._meet_workers()
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._reader.join(2 * _LOOK_S)

    def for_play(
        self,
        *,
        note: Callable[[HostFound], None] | None,
        met: Iterable[HostFound],
        heads: NotedHeads,
        keeps: bool,
    ) -> Elsewhere:
        """Return what carries the jobs of one play out.

        `note` keeps what a device ran when it was first met, but of those `met`; None: it is not kept. Without `keeps` nothing stays on a device.
        """
        book = Book(note=note, met={one.host for one in met}, heads=heads, keeps=keeps)

        def elsewhere(job: JobName, host: Host, order: Order | Return, ends: Ends) -> HostOutcome:
            with self._box(host.name) as box:
                return Served(self, job, host, order, ends, book, box).until_ended()

        return elsewhere

    @staticmethod
    def refuse_passwords(hosts: Sequence[Host]) -> None:
        """Raise UsageError where a host's password is known to this controller alone: no secret travels."""
        here = [host.name for host in hosts if connection_of(host).password_source in {"prompt", "inventory"}]
        if here:
            raise UsageError(
                "with --executor dask no password travels to a site",
                expected="hosts that are reached with the site's own keys, or ota_password_source: env:NAME",
                found=", ".join(here),
            )

    def of(self, site: str | None) -> frozenset[str]:
        """Return the addresses of the workers that serve a site now; None: of all."""
        return frozenset(
            worker.address
            for worker in self.scheduler.workers()
            if worker.address not in self._refused and (site is None or site in worker.sites)
        )

    def refuse(self, address: str) -> None:
        """Give a worker nothing more."""
        self._refused.add(address)

    def answer(self, letter: Letter, word: object) -> None:
        """Answer whoever sent a letter."""
        self.scheduler.answer(letter.token, sealed(word))

    def _meet_workers(self) -> None:
        """See that every worker runs this `ota`."""
        workers = {worker.address: worker for worker in self.scheduler.workers()}
        if not workers:
            raise UnreachableError(
                "no worker is at the Dask scheduler",
                where=self.scheduler.address,
                hint="start one at each site: dask worker, with --name and the site's name",
            )
        asked = {
            address: self.scheduler.submit(self._hello, f"worker-{number}", frozenset((address,)), attempt=0)
            for number, address in enumerate(workers)
        }
        until = time.monotonic() + _HELLO_S
        while asked and time.monotonic() < until:
            for letter in self.scheduler.letters():
                if letter.worker in asked:
                    del asked[letter.worker]
                    _refuse_other(workers[letter.worker], opened(letter.content))
            for address, job in asked.items():
                state, why = job.state()
                if state is JobState.BROKEN:
                    raise other_ota(_name(workers[address]), f"one that does not know this job ({why})")
        if asked:
            silent = ", ".join(_name(workers[address]) for address in asked)
            raise UnreachableError(
                f"no answer within {_HELLO_S:.0f} s from the Dask workers {silent}", where=self.scheduler.address
            )  # fmt: skip

    @contextmanager
    def _box(self, host: str) -> Iterator[SimpleQueue[Letter]]:
        box = self._boxes[host] = SimpleQueue()
        try:
            yield box
        finally:
            del self._boxes[host]

    def _read(self) -> None:
        """Sort the letters to the threads that wait for them; an attempt at a host that has ended is told so."""
        try:
            while not self._closed.is_set():
                for letter in self.scheduler.letters():
                    box = self._boxes.get(letter.host)
                    if box is not None:
                        box.put(letter)
                    else:
                        self.answer(letter, InterruptedRunError(TAKEN_OVER, where=letter.host))
        except OtaError as lost:
            self.lost = lost


def _refuse_other(worker: Worker, word: object) -> None:
    if not isinstance(word, Hello) or word.identity != identity():
        raise other_ota(_name(worker), str(word.identity) if isinstance(word, Hello) else "something else")


def _name(worker: Worker) -> str:
    return (
        f"{worker.name} ({worker.address})"
        if worker.name != worker.address and worker.name
        else worker.address
    )
