"""One host's job from the thread that waits for its end: handed to a worker of the host's site, served while it runs, and handed over again where the worker is lost.

Invariant: of several attempts only the last that was granted is heard, so that a worker that was lost and is not dead can neither note, sign nor end anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ota.core.connection import connection_of
from ota.core.events import Warned
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.journal_head import NotedHead
from ota.core.rollout_log import HostFound
from ota.errors import HostError, InterruptedRunError, OtaError, UnreachableError, UsageError
from ota.remote.scheduler import Job, JobState, Letter
from ota.workflows.heads import NotedHeads
from ota.workflows.letters import (
    PIECE_BYTES,
    Assignment,
    Begin,
    Compare,
    Ended,
    Found,
    Identity,
    KnownHead,
    NewHead,
    Piece,
    Sign,
    Stopping,
    Told,
    identity,
    opened,
    travelling,
    without_ends,
)
from ota.workflows.order import Ends, JobName, Order, Return
from ota.workflows.steps import Steps

if TYPE_CHECKING:
    from ota.workflows.sites import Sites

_LOOK_S = 1.0
_ATTEMPTS = 5
WAIT_S = 15.0
"""How long a host waits for a worker of its site when there is none."""
TAKEN_OVER = "another attempt at this host took its place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What a play keeps of its hosts: `note` takes what a device ran when it was first met, but for those in `met`; None: that is not kept."""

    note: Callable[[HostFound], None] | None
    met: set[str]
    heads: NotedHeads
    keeps: bool


class Served:
    """One host's job, from the thread that waits for its end."""

    def __init__(
        self, sites: Sites, job: JobName, host: Host, order: Order | Return, ends: Ends, book: Book, box: SimpleQueue[Letter]
    ) -> None:  # fmt: skip
        self._sites = sites
        self._name: JobName = job
        self._host = host
        self._order = order
        self._ends = ends
        self._book = book
        self._box = box
        self._site = connection_of(host).ota_site
        self._asked: frozenset[str] = frozenset()
        self._job: Job | None = None
        self._attempts = 0
        self._granted = 0
        self._token = ""
        self._silent_since: float | None = None

    def until_ended(self) -> HostOutcome:
        """Hand the job over and serve whoever carries it out, until it has ended."""
        try:
            self._hand_over()
            while True:
                try:
                    letter = self._box.get(timeout=_LOOK_S)
                except Empty:
                    end = self._look_after()
                else:
                    end = self._hear(letter)
                if end is not None:
                    return end
        except UnreachableError as lost:
            return self._unreachable(lost.reason)
        finally:
            if self._job is not None:
                self._job.cancel()

    def _hand_over(self) -> None:
        workers = self._sites.of(self._site)
        if self._job is not None:
            self._job.cancel()
            self._job = None
        if workers:
            self._attempts += 1
            self._asked = workers
            self._job = self._sites.scheduler.submit(
                self._sites.serve, self._host.name, workers, attempt=self._attempts
            )

    def _look_after(self) -> HostOutcome | None:
        """See that somebody is at work; return an end where nobody is and nobody comes."""
        if self._sites.lost is not None:
            return self._unreachable(self._sites.lost.reason)
        state, why = (JobState.LOST, "") if self._job is None else self._job.state()
        if state is JobState.BROKEN:
            raise HostError("the job broke at its site", where=self._host.name, found=why)
        there = self._sites.of(self._site)
        if state is JobState.RUNNING and self._asked & there:
            self._silent_since = None
            return None
        if there:
            if self._attempts >= _ATTEMPTS:
                return self._unreachable(f"{self._attempts} workers were lost at it")
            self._hand_over()
            return None
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._silent_since < WAIT_S:
            return None
        return self._unreachable(f"no worker of {self._where()} is at the scheduler")

    def _hear(self, letter: Letter) -> HostOutcome | None:
        word = opened(letter.content)
        if isinstance(word, Begin):
            self._begin(letter, word.identity)
        elif letter.token != self._token:
            if not isinstance(word, Told):
                self._sites.answer(letter, InterruptedRunError(TAKEN_OVER, where=self._host.name))
        elif isinstance(word, Told):
            self._ends.emit(word.event)
        elif isinstance(word, Ended):
            self._sites.answer(letter, None)
            return word.outcome
        else:
            self._answer(letter, word)
        return None

    def _begin(self, letter: Letter, theirs: Identity) -> None:
        """Grant the host to an attempt, and to no earlier one any more."""
        if theirs != identity():
            self._sites.refuse(letter.worker)
            refusal = other_ota(letter.worker, str(theirs))
            self._ends.emit(Warned(host=self._host.name, message=refusal.reason))
            self._sites.answer(letter, refusal)
            self._hand_over()
            return
        self._token = letter.token
        self._granted += 1
        if self._granted > 1:
            self._ends.emit(
                Warned(host=self._host.name, message="its worker was lost: another goes on with it")
            )
        self._sites.answer(
            letter,
            Assignment(
                job=self._name,
                host=travelling(self._host),
                order=without_ends(self._order),
                signed=self._order.authority is not None,
                notes=self._book.note is not None and self._host.name not in self._book.met,
                keeps=self._book.keeps,
                attempt=self._granted,
            ),
        )

    def _answer(self, letter: Letter, word: object) -> None:
        try:
            answer = self._said(word)
        except OtaError as error:
            answer = error
        except BaseException:
            self._sites.answer(letter, InterruptedRunError("the rollout cannot go on", where=self._host.name))
            raise
        self._sites.answer(letter, answer)

    def _said(self, word: object) -> object:
        """Return the answer to what a site asks."""
        if isinstance(word, Found):
            self._found(word)
            return None
        if isinstance(word, (KnownHead, NewHead)):
            return self._head(word)
        if isinstance(word, Sign):
            return () if self._order.authority is None else self._order.authority(word.content)
        if isinstance(word, Compare):
            return self._ends.agree(word.digest, self._host.name, word.runtime, word.outputs)
        if isinstance(word, Piece):
            return self._piece(word)
        if not isinstance(word, Stopping):
            raise TypeError(f"a site said what no site says: {type(word).__name__}")
        return self._ends.stopping()

    def _found(self, word: Found) -> None:
        if self._book.note is not None:
            self._book.note(HostFound(host=self._host.name, current=word.current))
            self._book.met.add(self._host.name)

    def _head(self, word: KnownHead | NewHead) -> NotedHead | None:
        if isinstance(word, KnownHead):
            return self._book.heads.get(self._host.name, word.root)
        self._book.heads.put(self._host.name, word.root, word.noted)
        return None

    def _piece(self, word: Piece) -> bytes:
        with self._ends.blob(word.digest).open("rb") as file:
            file.seek(word.start)
            return file.read(PIECE_BYTES)

    def _unreachable(self, why: str) -> HostOutcome:
        """Return the end of a host whose site is lost."""
        if self._granted and self._book.keeps:
            why += "; the host may be at a new release that is unconfirmed: run the command again to finish or undo it"
        release = self._order.release.id if isinstance(self._order, Order) else self._order.to
        return Steps(self._host.name, self._ends.emit).ended(
            HostState.UNREACHABLE, release=release, reason=why
        )

    def _where(self) -> str:
        return "any site" if self._site is None else f"the site {self._site}"


def other_ota(worker: str, found: str) -> UsageError:
    """Return the error of a worker that runs another `ota`."""
    return UsageError(
        f"the Dask worker {worker} runs another ota",
        expected=str(identity()),
        found=found,
        hint="install the controller's ota there, and start the worker again",
    )
