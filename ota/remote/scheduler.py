"""Dask as the way to sites: jobs go to workers, and each speaks with the controller while it runs.

Invariants: a site connects to the scheduler alone, so that it may stand behind a router that lets nothing in: answers and outcomes travel as letters in the scheduler's
queues, and no result is fetched from a worker; what is in a letter is in no log. Only with `--executor dask` is this module imported.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType

from distributed import (
    Client,
    Future,
    KilledWorker,
    Queue,
    Security,
    get_client,
    get_worker,
)
from distributed import (
    TimeoutError as NoneInTimeError,
)

from ota.errors import UnreachableError

_CONNECT_S = 10.0
_FRESH_S = 1.0
_POLL_S = 1.0
_CLOSE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The files that prove who is who to a scheduler: the authority's certificate, one's own, and its key."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as the scheduler knows it; it serves the sites in `sites`: its name, and the names of the resources that it offers."""

    address: str
    name: str
    sites: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What the job of `host` on `worker` says; `token` is that of the attempt, by which it is answered."""

    token: str
    worker: str
    host: str
    content: bytes


class JobState(Enum):
    """How far a job is; LOST: the scheduler has forgotten it, KILLED: too many workers died of it, BROKEN: it raised."""

    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"
    KILLED = "killed"
    BROKEN = "broken"


class Job:
    """A job that a worker is to carry out."""

    def __init__(self, future: Future) -> None:
        self._future = future

    def state(self) -> tuple[JobState, str]:
        """Return how far it is, and of a broken one what it raised."""
        status = self._future.status
        if status == "finished":
            return JobState.ENDED, ""
        if status != "error":
            return (JobState.RUNNING if status == "pending" else JobState.LOST), ""
        error = self._future.exception(timeout=_CONNECT_S)
        state = JobState.KILLED if isinstance(error, KilledWorker) else JobState.BROKEN
        return state, f"{type(error).__name__}: {error}"

    def cancel(self) -> None:
        """Have no worker begin it."""
        with suppress(Exception):  # the scheduler may be gone
            self._future.cancel()


class Scheduler:
    """The controller's end; a context manager. Its methods may be called from any thread.

    Raises:
        UnreachableError: no scheduler answers at `address`, or it is not let in.
    """

    def __init__(self, address: str, tls: Tls | None = None) -> None:
        _hush()
        self.address = address
        self.run = uuid.uuid4().hex[:12]
        try:
            self._client = Client(
                address, security=_security(tls), timeout=_CONNECT_S, set_as_default=False, name=f"ota-{self.run}"
            )  # fmt: skip
            self._up = Queue(_up(self.run), client=self._client)
        except Exception as error:
            words = str(error).strip().splitlines()
            raise UnreachableError(
                "the Dask scheduler is out of reach",
                where=address,
                expected="one that was started with: dask scheduler",
                found=words[0] if words else type(error).__name__,
                hint="name it with --scheduler, tls:// with its --tls-ca, --tls-cert and --tls-key",
            ) from error
        self._roster: tuple[Worker, ...] = ()
        self._asked = float("-inf")
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Scheduler:  # noqa: PYI034 - Self is not in 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # nothing of a scheduler that is gone can be closed
            self._up.close()
            self._client.close(timeout=_CLOSE_S)

    def workers(self) -> tuple[Worker, ...]:
        """Return the workers that are there now; the scheduler is asked once a second at most."""
        with self._one_at_a_time:
            if time.monotonic() - self._asked >= _FRESH_S:
                with self._in_reach():
                    try:
                        found = self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"]
                    except TypeError:  # an older Dask always tells all
                        found = self._client.sync(self._client.scheduler.identity)["workers"]
                self._roster = tuple(
                    _worker(address, one) for address, one in found.items() if one.get("status") != "closing"
                )
                self._asked = time.monotonic()
            return self._roster

    def submit(
        self, job: Callable[[str, str], None], host: str, workers: frozenset[str], *, attempt: int
    ) -> Job:
        """Have one of `workers` call `job(run, host)`; a worker that dies meanwhile makes Dask ask another of them."""
        with self._in_reach():
            future = self._client.submit(
                job, self.run, host, key=f"ota-{self.run}-{host}-{attempt}", workers=sorted(workers), allow_other_workers=False, pure=False
            )  # fmt: skip
        return Job(future)

    def letters(self) -> list[Letter]:
        """Return the letters that came, after a second at most."""
        with self._in_reach():
            try:
                first = self._up.get(timeout=_POLL_S)
            except NoneInTimeError:
                return []
            packets = [first, *self._up.get(batch=True)]
        return [
            Letter(token=token, worker=worker, host=host, content=content)
            for packet in packets
            for token, worker, host, content in packet
        ]

    def answer(self, token: str, content: bytes) -> None:
        """Answer the attempt `token`, which waits for it."""
        with self._in_reach():
            down = Queue(_down(self.run, token), client=self._client)
            down.put(content)
            down.close()

    @contextmanager
    def _in_reach(self) -> Iterator[None]:
        """Turn whatever Dask raises, which has no root of its own, into one error: the scheduler was lost."""
        try:
            yield
        except Exception as error:
            lost = type(error).__name__
            raise UnreachableError("the Dask scheduler was lost", where=self.address, found=lost) from error


class Line:
    """A site's end, for one attempt at one host; a context manager, inside of a job alone."""

    def __init__(self, run: str, host: str) -> None:
        client = get_client()
        self._host = host
        self._at = get_worker()
        self._worker = str(self._at.address)
        self._key = self._at.get_current_task()
        self._token = uuid.uuid4().hex[:12]
        self._up = Queue(_up(run), client=client)
        self._down = Queue(_down(run, self._token), client=client)
        self._leaving: SimpleQueue[bytes | None] = SimpleQueue()
        self._lost = threading.Event()
        self._postman = threading.Thread(target=self._carry, name="ota-letters", daemon=True)

    def __enter__(self) -> Line:  # noqa: PYI034 - Self is not in 3.10
        self._postman.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.put(None)
        self._postman.join(_CLOSE_S)
        with suppress(Exception):  # nothing of a scheduler that is gone can be closed
            self._down.close()
            self._up.close()

    def post(self, content: bytes) -> None:
        """Send a letter that nobody answers, in its turn; returns at once."""
        self._leaving.put(content)

    def call(self, content: bytes, *, timeout_s: float) -> bytes:
        """Send a letter and return the answer to it; UnreachableError where none comes in time."""
        self.post(content)
        until = time.monotonic() + timeout_s
        while not self._lost.is_set() and not self._is_given_up() and time.monotonic() < until:
            try:
                return bytes(self._down.get(timeout=min(_POLL_S, timeout_s)))
            except NoneInTimeError:
                continue
            except Exception as error:
                raise UnreachableError("the rollout's controller was lost", where=self._host) from error
        raise UnreachableError("the rollout's controller does not answer", where=self._host)

    def _is_given_up(self) -> bool:
        """Say whether the scheduler wants this job no more: the controller died, or gave the host to another."""
        task = self._at.state.tasks.get(self._key)
        return task is None or task.state not in {"executing", "long-running"}

    def _carry(self) -> None:
        """Take letters to the queue, as many at a time as wait: a round trip is not paid for each."""
        ends = False
        while not ends:
            bag = [self._leaving.get()]
            with suppress(Empty):
                while True:
                    bag.append(self._leaving.get_nowait())
            ends = None in bag
            packet = [[self._token, self._worker, self._host, one] for one in bag if one is not None]
            try:
                if packet:
                    self._up.put(packet)
            except Exception:  # noqa: BLE001 - whoever waits for an answer is told
                self._lost.set()
                return


def _hush() -> None:
    """Let Dask's loggers, each of which has a level of its own, tell nothing here: what a person has to know is an error, and theirs come with tracebacks."""
    for name in tuple(logging.root.manager.loggerDict):
        if name.partition(".")[0] in {"distributed", "tornado"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _up(run: str) -> str:
    return f"ota-{run}"


def _down(run: str, token: str) -> str:
    return f"ota-{run}-{token}"


def _security(tls: Tls | None) -> Security | None:
    if tls is None:
        return None
    return Security(
        tls_ca_file=str(tls.ca),
        tls_client_cert=str(tls.cert),
        tls_client_key=str(tls.key),
        require_encryption=True,
    )


def _worker(address: str, said: dict[str, object]) -> Worker:
    offered = said.get("resources")
    name = str(said.get("name", ""))
    return Worker(
        address=address,
        name=name,
        sites=frozenset((name, *(offered if isinstance(offered, dict) else ()))),
    )
