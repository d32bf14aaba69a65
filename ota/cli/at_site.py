"""What a Dask worker runs at a site: one host's job, with ends of the site's own; what only the rollout's controller knows or may do is asked of it.

Files come from the controller once a site, and stay in the worker's folder `.ota`; keys, known hosts and passwords in the environment are the worker's own.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ota.cli.ends import STORE_FOLDER, now, open_store
from ota.cli.session import Passwords, opener, runtime_for
from ota.core.events import Event, Progressed
from ota.core.facts import SlotState
from ota.core.host_state import HostOutcome
from ota.core.inventory import Host
from ota.core.journal_head import NotedHead
from ota.core.release import Digest
from ota.deltas.encodings import Encodings
from ota.errors import HostError, OtaError
from ota.remote.connections import Connections
from ota.remote.device import Device
from ota.remote.dialogue import RefusedError
from ota.remote.scheduler import Line
from ota.store.blobs import Blobs
from ota.workflows.crossings import Crossings
from ota.workflows.heads import JournalMemory
from ota.workflows.jobs import carry_out_here
from ota.workflows.letters import (
    Assignment,
    Begin,
    Compare,
    Ended,
    Found,
    Hello,
    KnownHead,
    NewHead,
    Piece,
    Sign,
    Stopping,
    Told,
    arrived,
    identity,
    opened,
    sealed,
)
from ota.workflows.order import Connect, Ends, Return

T = TypeVar("T")

_ANSWER_S = 120.0
"""How long the controller may take for an answer: somebody may have to type a passphrase there."""
_SHOWN_S = 0.5
_LOOK_S = 2.0
_LOCKED_S, _AGAIN_S = 60.0, 2.0
"""How long a later attempt waits for a device's lock, and how often it looks."""


def hello(run: str, name: str) -> None:
    """Say which `ota` this worker runs."""
    with Line(run, name) as line:
        line.post(sealed(Hello(identity=identity())))


def serve(run: str, host: str) -> None:
    """Carry out one host's job; nothing where the controller gives it to another."""
    with Line(run, host) as line:
        site = _Site(line)
        try:
            assignment = site.ask(Begin(identity=identity()), Assignment)
        except OtaError:
            return  # the controller has told why
        end = site.carry_out(assignment)
        site.ask(Ended(outcome=end), type(None))


class _Site:
    """One attempt at one host."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._shown: dict[str, float] = {}
        self._looked = 0.0
        self._stopping = False
        self._noted = False

    def ask(self, word: object, kind: type[T] | tuple[type[T], ...]) -> T:
        """Return the controller's answer, of that kind; raises the error that it answers with.

        Raises:
            UnreachableError: it does not answer.
        """
        answer = opened(self._line.call(sealed(word), timeout_s=_ANSWER_S))
        if isinstance(answer, OtaError):
            raise answer
        if not isinstance(answer, kind):
            raise TypeError(f"{type(word).__name__} was answered with {type(answer).__name__}")
        return answer

    def carry_out(self, assignment: Assignment) -> HostOutcome:
        """Return how the job ended."""
        host = arrived(assignment.host)
        connections = Connections(Passwords(ask=False).of)
        with open_store() as store:
            ends = Ends(
                connect=self._connect(connections, assignment),
                emit=self._emit,
                blob=_Fetched(Blobs(STORE_FOLDER / "blobs"), self._piece),
                crossings=Crossings(Encodings(store.blob, store)),
                runtime_for=runtime_for,
                agree=self._agree,
                stopping=self._is_stopping,
                met=self._met if assignment.notes else lambda _host, _slot: None,
                journals=JournalMemory(heads=_Heads(self), now=_now) if assignment.keeps else None,
            )
            order = replace(assignment.order, authority=self._sign if assignment.signed else None)
            try:
                return carry_out_here(assignment.job, host, order, ends)
            finally:
                connections.close()

    def _connect(self, connections: Connections, assignment: Assignment) -> Connect:
        order = assignment.order
        model = order.model if isinstance(order, Return) else order.release.manifest.model
        connect = opener(connections, model, keep_agent=assignment.keeps)
        if assignment.attempt > 1 and assignment.keeps:
            connect = _locking(connect)
        return connect

    def _met(self, _host: Host, slot: SlotState) -> None:
        """Have noted what the device runs, before anything changes there."""
        if not self._noted:
            self.ask(Found(current=slot.current), type(None))
            self._noted = True

    def _emit(self, event: Event) -> None:
        """Tell the controller, of what moves only now and then."""
        if isinstance(event, Progressed) and event.done < event.total:
            if time.monotonic() - self._shown.get(event.step, 0.0) < _SHOWN_S:
                return
            self._shown[event.step] = time.monotonic()
        self._line.post(sealed(Told(event=event)))

    def _is_stopping(self) -> bool:
        if not self._stopping and time.monotonic() - self._looked >= _LOOK_S:
            self._stopping = self.ask(Stopping(), bool)
            self._looked = time.monotonic()
        return self._stopping

    def _sign(self, content: bytes) -> tuple[tuple[str, str], ...]:
        return self.ask(Sign(content=content), tuple)

    def _agree(self, digest: Digest, host: str, runtime: str, outputs: bytes) -> str:  # noqa: ARG002 - an Agree
        return self.ask(Compare(digest=digest, runtime=runtime, outputs=outputs), str)

    def _piece(self, digest: Digest, start: int) -> bytes:
        return self.ask(Piece(digest=digest, start=start), bytes)


def _now() -> str:
    return now().isoformat(timespec="seconds")


def _locking(connect: Callable[[Host], Device]) -> Callable[[Host], Device]:
    """Return `connect`, waiting for the lock of a device: the dialogue of an earlier attempt may hold it until it notices."""

    def locked(host: Host) -> Device:
        until = time.monotonic() + _LOCKED_S
        while True:
            device = connect(host)
            try:
                device.ready(())
            except OtaError as error:
                device.close()
                is_locked = isinstance(error, RefusedError) and error.code == "locked"
                if not is_locked or time.monotonic() > until:
                    raise
                time.sleep(_AGAIN_S)
            else:
                return device

    return locked


class _Heads:
    """How far the controller knows a device's journal."""

    def __init__(self, site: _Site) -> None:
        self._site = site

    def get(self, host: str, root: str) -> NotedHead | None:  # noqa: ARG002 - the attempt is one host's
        """Ask for what was noted last."""
        return self._site.ask(KnownHead(root=root), (NotedHead, type(None)))

    def put(self, host: str, root: str, noted: NotedHead) -> None:  # noqa: ARG002 - as above
        """Have a head noted."""
        self._site.ask(NewHead(root=root, noted=noted), type(None))


class _Fetched:
    """Files from the controller, each fetched once a site, however many of its jobs and workers want it; what is there is read and compared first."""

    def __init__(self, blobs: Blobs, piece: Callable[[Digest, int], bytes]) -> None:
        self._blobs = blobs
        self._piece = piece

    def __call__(self, digest: Digest) -> Path:
        path = self._blobs.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{digest.hex}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.is_file() and Digest.of(path.read_bytes()) == digest:
                return path
            path.unlink(missing_ok=True)
            content = bytearray()
            while piece := self._piece(digest, len(content)):
                content += piece
            if Digest.of(bytes(content)) != digest:
                raise HostError("a file arrived damaged at the site", where=str(path), expected=digest.short)
            self._blobs.put(bytes(content))
        return path
