"""How the files of a play cross from this controller: in which form to whom, and what the transfers tell of the links.

Invariant: a host whose link needs no other form waits for none that is made for others.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from threading import Lock
from typing import Protocol

from ota.core.release import Artifact, Digest
from ota.core.wire import TELLING_BYTES, Crossing, Encoding, Link, Timed, crossed_s
from ota.remote.answers import Transfer

Encode = Callable[[Digest, Sequence[Digest], Crossing], tuple[Encoding, ...]]
"""Returns the forms of a file that may cross to a device which holds the files named; may make one where the crossing is worth it."""


class Speeds(Protocol):
    """How fast hosts were reached before."""

    def speed(self, host: str) -> Timed | None:
        """Return the newest transfer to a host that tells of its link."""
        ...

    def put_speeds(self, timed: Mapping[str, Timed]) -> None:
        """Remember transfers by host."""
        ...


def said(form: Encoding | None) -> str:
    """Return how a file crossed, as it is told behind its bytes; nothing where it was as it is."""
    if form is None:
        return ""
    return ", compressed" if form.base is None else f", the difference to {form.base.short}"


class Outgoing:
    """Counts the hosts that transfers are under way to from this controller, whose way out they share."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._under_way: Counter[str] = Counter()
        self._sum = 0.0
        self._since = clock()

    @contextmanager
    def transfer(self, host: str) -> Iterator[Callable[[], float]]:
        """Be one of them for as long as the context lasts; yields what returns how many hosts there were since, on average."""
        began, before = self._step(host, 1)

        def sharers() -> float:
            now, sum_ = self._step(host, 0)
            return (sum_ - before) / (now - began) if now > began else 1.0

        try:
            yield sharers
        finally:
            self._step(host, -1)

    def _step(self, host: str, more: int) -> tuple[float, float]:
        with self._lock:
            now = self._clock()
            self._sum += len(self._under_way) * (now - self._since)
            self._since = now
            self._under_way[host] += more
            if not self._under_way[host]:
                # Else a rollout's every transfer would count all the hosts before it.
                del self._under_way[host]
            return now, self._sum


class Watch:
    """One transfer that is timed from its first byte to the device's answer; `learn` is told what it was, and to how many hosts others were meanwhile."""

    def __init__(
        self,
        transfer: Callable[[], AbstractContextManager[Callable[[], float]]],
        learn: Callable[[Transfer, Callable[[], float]], None],
        form: Encoding | None,
    ) -> None:
        self._transfer = transfer
        self._learn = learn
        self._form = form
        self._under_way = ExitStack()
        self._sharers: Callable[[], float] = lambda: 1.0
        self._began = 0.0

    def begin(self) -> None:
        """Its first byte goes out."""
        self.close()
        self._began = time.monotonic()
        self._sharers = self._under_way.enter_context(self._transfer())

    def end(self, sent: int) -> None:
        """The device answers that it has it, and how many bytes it took."""
        took = time.monotonic() - self._began
        self._learn(Transfer(bytes_sent=sent, seconds=took, form=self._form), self._sharers)
        self.close()

    def close(self) -> None:
        """It is under way no more, whatever became of it."""
        self._under_way.close()


class Crossings:
    """The transfers of one play; called from the jobs of many hosts at once."""

    def __init__(
        self,
        encode: Encode = lambda _file, _bases, _crossing: (),
        speeds: Speeds | None = None,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._encode = encode
        self._speeds = speeds
        self._outgoing = outgoing or Outgoing()
        self._lock = Lock()
        self._wanted: Mapping[Digest, int] = {}
        self._at_once = 1
        self._asked: dict[Digest, set[str]] = {}
        self._learnt: dict[str, Timed] = {}

    def expect(self, wanted: Mapping[Digest, int], at_once: int) -> None:
        """Say how many hosts need each file, and how many are worked on at once."""
        self._wanted, self._at_once = wanted, max(1, at_once)

    def forms(
        self, host: str, digest: Digest, size_bytes: int, bases: Sequence[Digest], round_trip_s: float | None
    ) -> tuple[Encoding, ...]:
        """Return the forms in which a file should cross to a host that holds `bases`, the best first; none: as it is."""
        link = Link(round_trip_s=round_trip_s, bytes_per_s=self._known(host))
        crossing = Crossing(size_bytes=size_bytes, link=link, turns=self._turns(host, digest))
        if not crossing.worth_a_thought():
            return ()
        return crossing.preferred(self._encode(digest, bases, crossing))

    def begin(self, models: Mapping[str, Artifact], likely: Callable[[], Mapping[str, Digest]]) -> None:
        """Have forms made while hosts that are known to be far away are signed in to.

        `models` are what each host shall get; `likely` says what they run, as far as one knows, and is asked only where somebody is far away. Who runs it is left out, and
        so is who is of a later turn.
        """
        far = [
            (host, Crossing(size_bytes=model.size_bytes, link=Link(bytes_per_s=speed), turns=self._turns_of(model.digest, 0)))
            for host, model in models.items()
            if (speed := self._known(host)) is not None
        ]  # fmt: skip
        far = [(host, crossing) for host, crossing in far if crossing.worth_a_thought()][: self._at_once]
        if not far:
            return
        runs = likely()
        wanted = {
            (models[host].digest, runs[host]): crossing
            for host, crossing in far
            if host in runs and runs[host] != models[host].digest
        }

        def make() -> None:
            for (digest, base), crossing in wanted.items():
                self._encode(digest, [base], crossing)

        threading.Thread(target=make, name="ota-forms", daemon=True).start()

    def timed(self, host: str, size_bytes: int, send: Callable[[], Transfer]) -> Transfer:
        """Carry the transfer of a file of `size_bytes` out and learn from it how fast the host is reached, where it was long enough to tell."""
        with self._outgoing.transfer(host) as sharers:
            sent = send()
            self._learn(host, size_bytes, sent, sharers)
        return sent

    def watch(self, host: str, size_bytes: int, form: Encoding | None) -> Watch:
        """Return what times the transfer of a file of `size_bytes` in that form, which begins and ends when it is told."""
        return Watch(
            partial(self._outgoing.transfer, host),
            lambda sent, sharers: self._learn(host, size_bytes, sent, sharers),
            form,
        )

    def _learn(self, host: str, size_bytes: int, sent: Transfer, sharers: Callable[[], float]) -> None:
        if sent.bytes_sent >= TELLING_BYTES:
            seconds = sent.seconds if sent.form is None else crossed_s(sent.seconds, size_bytes)
            timed = Timed(size_bytes=sent.bytes_sent, seconds=seconds, sharers=sharers())
            with self._lock:
                self._learnt[host] = timed

    def keep(self) -> None:
        """Have what was learnt remembered."""
        with self._lock:
            learnt, self._learnt = self._learnt, {}
        if learnt and self._speeds is not None:
            self._speeds.put_speeds(learnt)

    def _turns(self, host: str, digest: Digest) -> int:
        """Return how many times over hosts still wait for a file, this one among them."""
        with self._lock:
            asked = self._asked.setdefault(digest, set())
            asked.add(host)
            return self._turns_of(digest, len(asked) - 1)

    def _turns_of(self, digest: Digest, before: int) -> int:
        return max(1, math.ceil((self._wanted.get(digest, 1) - before) / self._at_once))

    def _known(self, host: str) -> float | None:
        """Return the bytes a second at which a host was reached before, while so many shared the way as will now."""
        known = None if self._speeds is None else self._speeds.speed(host)
        return None if known is None else known.bytes_per_s(self._at_once)
