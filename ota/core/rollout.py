"""The state machine of a rollout: which hosts are next, when it stops, which go back to what, and what is said of hosts that were never begun.

Rules, after Ansible's `serial` and `max_fail_percentage` with two deliberate differences: unreachable hosts count as failed, and a rollout stops
for a batch that failed whole only where no percentage is given (so 100 never stops). The percentage must be exceeded. A model that does not pass the gate on
one host stops it: that is the release's fault, not the host's. A host that says confirmed and
reads back something else has failed.

Invariants: no batch begins after a stop; a host that was not touched is not returned; a host ends once and returns once; what a return ends in is
the named earlier release read back, a failure with its reason, or unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from ota.core.by_host import ByHost
from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import BatchSize, OnFailure
from ota.core.release import Digest

BAD = frozenset((HostState.FAILED, HostState.ROLLED_BACK, HostState.UNREACHABLE))
"""The ends that count against a rollout."""
_KEPT = frozenset((HostState.CONFIRMED, HostState.ACTIVE, HostState.FAILED, HostState.UNREACHABLE))
"""The ends at which the new release may be what the device runs."""


class Phase(Enum):
    """What a rollout does next."""

    ROLLING = "rolling"
    RETURNING = "returning"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The release that a host shall get, and the digest of its model."""

    host: str
    release: str
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """A host, and the release that it ran before this rollout and returns to."""

    host: str
    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rollout has come, so that no step has to count anew.

    `numbers` are the hosts' batches, from 1; `wanted` what each host shall get; `left` how many hosts of each batch have not ended; `first` is the place of
    the first batch with such hosts, the number of batches where there is none.
    """

    numbers: Mapping[str, int]
    wanted: Mapping[str, Wanted]
    left: tuple[int, ...]
    first: int

    @classmethod
    def of(
        cls, batches: Sequence[Sequence[str]], wanted: Sequence[Wanted], ends: ByHost[HostOutcome]
    ) -> Progress:
        """Count once."""
        left = tuple(sum(host not in ends for host in batch) for batch in batches)
        return cls(
            numbers={host: number for number, batch in enumerate(batches, 1) for host in batch},
            wanted={one.host: one for one in wanted},
            left=left,
            first=_first_open(left, 0),
        )

    def after_one_of(self, number: int) -> Progress:
        """Return how far it has come when one more host of a batch has ended."""
        left = (*self.left[: number - 1], self.left[number - 1] - 1, *self.left[number:])
        return replace(self, left=left, first=_first_open(left, self.first))


_UNCOUNTED = Progress(numbers={}, wanted={}, left=(), first=0)


def _first_open(left: Sequence[int], start: int) -> int:
    while start < len(left) and not left[start]:
        start += 1
    return start


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Where a rollout stands: all its batches, the outcomes so far, and how returns ended.

    `stop` is why no further batch begins, empty while none is barred; `failed_batch` counts from 1, 0 where it was no batch that stopped it. `wanted`
    is what read-backs are compared with, empty where each host has an aim of its own. `interrupted`: a person stopped it, and nothing returns either.
    One more outcome costs the same however many hosts there are: what that takes is in `progress`.
    """

    batches: tuple[tuple[str, ...], ...]
    max_fail_percentage: float | None = None
    on_failure: OnFailure = OnFailure.STOP
    wanted: tuple[Wanted, ...] = ()
    outcomes: ByHost[HostOutcome] = field(default_factory=ByHost)
    returns: ByHost[HostOutcome] = field(default_factory=ByHost)
    stop: str = ""
    failed_batch: int = 0
    interrupted: bool = False
    progress: Progress = field(default=_UNCOUNTED, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.progress is _UNCOUNTED:
            object.__setattr__(self, "progress", Progress.of(self.batches, self.wanted, self.outcomes))

    def number_of(self, host: str) -> int:
        """Return the number of a host's batch, counted from 1; 0 for a host that is not in the rollout."""
        return self.progress.numbers.get(host, 0)

    @property
    def phase(self) -> Phase:
        """What it does next."""
        if self.next_batch() is not None:
            return Phase.ROLLING
        return Phase.RETURNING if self.to_return() else Phase.ENDED

    def record(self, outcome: HostOutcome) -> Rollout:
        """Return the rollout with one more host ended; ValueError for a host that is not in it or has ended already."""
        number = self.number_of(outcome.host)
        if not number or outcome.host in self.outcomes:
            raise ValueError(f"{outcome.host} is not under way")
        honest = _honest(outcome, self.progress.wanted.get(outcome.host))
        after = replace(
            self, outcomes=self.outcomes.adding(honest), progress=self.progress.after_one_of(number)
        )
        why = "" if after.stop or after.progress.left[number - 1] else _verdict(after, number)
        return replace(after, stop=why, failed_batch=number) if why else after

    def next_batch(self) -> tuple[str, ...] | None:
        """Return the first batch with hosts that have not ended, without those that have; None when all did or the rollout stopped."""
        if self.stop:
            return None
        if self.progress.first == len(self.batches):
            return None
        return tuple(host for host in self.batches[self.progress.first] if host not in self.outcomes)

    def interrupt(self, reason: str) -> Rollout:
        """Return the rollout stopped from outside."""
        return replace(self, stop=self.stop or reason, interrupted=True)

    def to_return(self) -> tuple[WayBack, ...]:
        """Return the hosts that are to go back and have not yet, each with its named earlier release; none unless the rollout stopped."""
        if self.interrupted or not self.failed_batch:
            return ()
        return tuple(
            WayBack(host=end.host, release=end.previous or "") for end in self.outcomes if self._owes(end)
        )

    def waits(self, host: str) -> bool:
        """Say whether a host is to go back and has not yet."""
        end = self.outcomes.get(host)
        return not self.interrupted and end is not None and self._owes(end)

    def record_return(self, outcome: HostOutcome) -> Rollout:
        """Return the rollout with one more return ended; `outcome` is the rollback's own. ValueError for a host that is not to go back."""
        first = self.outcomes.get(outcome.host)
        if first is None or not self._owes(first):
            raise ValueError(f"{outcome.host} is not to go back")
        return replace(self, returns=self.returns.adding(outcome))

    def finish(self) -> tuple[HostOutcome, ...]:
        """Return an outcome for every host in the order of the batches; hosts that were never begun are skipped."""
        return tuple(self.end_of(host) for batch in self.batches for host in batch)

    def end_of(self, host: str) -> HostOutcome:
        """Return how a host has ended by now; one that was never begun is skipped."""
        first, back = self.outcomes.get(host), self.returns.get(host)
        if first is None:
            return self._skipped(host)
        if back is not None:
            return _returned(first, back, self.stop)
        if self._owes(first):
            return _left(first, first.previous or "")
        return _stranded(first) if self._is_undone(host) else first

    def _is_undone(self, host: str) -> bool:
        """Say whether the stop undoes a host's batch."""
        if not self.failed_batch or self.on_failure is OnFailure.STOP:
            return False
        first = self.failed_batch if self.on_failure is OnFailure.ROLLBACK_BATCH else 1
        return first <= self.number_of(host) <= self.failed_batch

    def _owes(self, end: HostOutcome) -> bool:
        """Say whether a host that ended so has a way back before it."""
        undone = self._is_undone(end.host) and end.host not in self.returns
        return undone and end.previous is not None and touched(end)

    def _skipped(self, host: str) -> HostOutcome:
        return HostOutcome(
            host=host,
            state=HostState.SKIPPED,
            release=None,
            previous=None,
            changed=False,
            bytes_sent=0,
            digest=None,
            reason=f"not begun: {self.stop}" if self.stop else "not begun",
        )


def touched(end: HostOutcome) -> bool:
    """Say whether a host that ended so may run another release than before the rollout."""
    if end.state not in _KEPT or end.release is None or end.release == end.previous:
        return False
    met = end.previous is not None or end.changed or end.steps_ok > 0
    return met or end.state is not HostState.UNREACHABLE


def _honest(outcome: HostOutcome, aim: Wanted | None) -> HostOutcome:
    if outcome.state is not HostState.CONFIRMED or aim is None:
        return outcome
    if (outcome.release, outcome.digest) == (aim.release, aim.digest):
        return outcome
    found = "nothing" if outcome.digest is None else outcome.digest.short
    reason = f"it says confirmed and reads back otherwise: expected {aim.release} with the model {aim.digest.short}, found {outcome.release} with {found}"
    return replace(outcome, state=HostState.FAILED, reason=reason)


def _verdict(rollout: Rollout, number: int) -> str:
    """Return why the rollout stops for the batch `number`, all of whose hosts have ended, empty where it does not."""
    batch = rollout.batches[number - 1]
    ends = [end for end in map(rollout.outcomes.get, batch) if end is not None]
    judged = [end.host for end in ends if end.gate_failed]
    if judged:
        return f"batch {number} of {len(rollout.batches)}: the model did not pass the gate on {', '.join(judged)}"
    most = rollout.max_fail_percentage
    bad = [end.host for end in ends if end.state in BAD]
    share = 100 * len(bad) / len(batch)
    where = f"batch {number} of {len(rollout.batches)}: {', '.join(bad)} did not make it"
    if most is None:
        return f"{where}, which is the whole batch" if len(bad) == len(batch) else ""
    return f"{where}, {share:.0f} % where at most {most:g} % may fail" if share > most else ""


def _returned(first: HostOutcome, back: HostOutcome, stop: str) -> HostOutcome:
    """Return how a host ended that was to go back: `first` is its end in the rollout, `back` that of its rollback."""
    both = replace(
        first,
        changed=first.changed or back.changed,
        bytes_sent=first.bytes_sent + back.bytes_sent,
        steps_ok=first.steps_ok + back.steps_ok,
        steps_changed=first.steps_changed + back.steps_changed,
    )
    if back.state is HostState.CONFIRMED and back.release == first.previous:
        why = f"{first.reason}; " if first.reason else ""
        reason = f"{why}returned to {back.release}: {stop}"
        return replace(
            both, state=HostState.ROLLED_BACK, release=back.release, digest=back.digest, reason=reason
        )
    if back.state is HostState.UNREACHABLE:
        reason = (
            f"out of reach when it was to return to {first.previous}: it may run {first.release}; "
            f"run ota rollback again when it is back ({back.reason})"
        )
        return replace(both, state=HostState.UNKNOWN, release=first.previous, digest=None, reason=reason)
    found = back.release or first.release
    why = back.reason or f"found {found} instead"
    reason = f"it did not return to {first.previous}: {why}"
    return replace(both, state=HostState.FAILED, release=found, digest=back.digest, reason=reason)


def _left(first: HostOutcome, release: str) -> HostOutcome:
    why = f"{first.reason}; " if first.reason else ""
    reason = f"{why}it was to return to {release} and did not yet: ota deploy --resume takes it up"
    return replace(first, reason=reason)


def _stranded(first: HostOutcome) -> HostOutcome:
    """Return the end of a host in a rollback's scope that has nothing to go back to, or was never met."""
    if first.state is HostState.UNREACHABLE and not touched(first):
        return replace(first, release=None)
    if first.previous is not None or not touched(first):
        return first
    if first.state is HostState.UNREACHABLE:
        reason = f"{first.reason}; it ran no release before, so that there is none to return to"
        return replace(first, state=HostState.UNKNOWN, release=None, reason=reason)
    why = f"{first.reason}; " if first.reason else ""
    reason = f"{why}there is no earlier release to return to: it keeps {first.release}"
    return replace(first, state=HostState.FAILED, reason=reason)


def batches_of(hosts: Sequence[str], serial: Sequence[BatchSize]) -> tuple[tuple[str, ...], ...]:
    """Return `hosts` in batches; the last size repeats, no size is one batch, a percentage is of all hosts, rounded down, at least 1."""
    batches: list[tuple[str, ...]] = []
    start = 0
    while start < len(hosts):
        size = _size(serial[min(len(batches), len(serial) - 1)], len(hosts)) if serial else len(hosts)
        batches.append(tuple(hosts[start : start + size]))
        start += size
    return tuple(batches)


def _size(size: BatchSize, hosts: int) -> int:
    if size.count is not None:
        return max(1, size.count)
    return max(1, int(hosts * (size.percent or 0.0) / 100))
