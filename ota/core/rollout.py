"""The state machine of a rollout: which hosts are next, when it stops, which go back to what, and what is said of hosts that were never begun.

Rules, after Ansible's `serial` and `max_fail_percentage` with two deliberate differences: unreachable hosts count as failed, and a rollout stops
for a batch that failed whole only where no percentage is given (so 100 never stops). The percentage must be exceeded. A model that does not pass the gate on
one host stops it: that is the release's fault, not the host's. A host that says confirmed and
reads back something else has failed.

Invariants: no batch begins after a stop; a host that was not touched is not returned; a host ends once and returns once; what a return ends in is
the named earlier release read back, a failure with its reason, or unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

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
class Rollout:
    """Where a rollout stands: all its batches, the outcomes so far, and how returns ended.

    `stop` is why no further batch begins, empty while none is barred; `failed_batch` counts from 1, 0 where it was no batch that stopped it. `wanted`
    is what read-backs are compared with, empty where each host has an aim of its own. `interrupted`: a person stopped it, and nothing returns either.
    """

    batches: tuple[tuple[str, ...], ...]
    max_fail_percentage: float | None = None
    on_failure: OnFailure = OnFailure.STOP
    wanted: tuple[Wanted, ...] = ()
    outcomes: tuple[HostOutcome, ...] = ()
    returns: tuple[HostOutcome, ...] = ()
    stop: str = ""
    failed_batch: int = 0
    interrupted: bool = False

    @property
    def phase(self) -> Phase:
        """What it does next."""
        if self.next_batch() is not None:
            return Phase.ROLLING
        return Phase.RETURNING if self.to_return() else Phase.ENDED

    def record(self, outcome: HostOutcome) -> Rollout:
        """Return the rollout with one more host ended; ValueError for a host that is not in it or has ended already."""
        number = next((n for n, batch in enumerate(self.batches, 1) if outcome.host in batch), 0)
        if not number or outcome.host in _hosts(self.outcomes):
            raise ValueError(f"{outcome.host} is not under way")
        after = replace(self, outcomes=(*self.outcomes, _honest(outcome, self.wanted)))
        why = "" if after.stop else _verdict(after, number)
        return replace(after, stop=why, failed_batch=number) if why else after

    def next_batch(self) -> tuple[str, ...] | None:
        """Return the first batch with hosts that have not ended, without those that have; None when all did or the rollout stopped."""
        if self.stop:
            return None
        ended = _hosts(self.outcomes)
        lefts = (tuple(host for host in batch if host not in ended) for batch in self.batches)
        return next((left for left in lefts if left), None)

    def interrupt(self, reason: str) -> Rollout:
        """Return the rollout stopped from outside."""
        return replace(self, stop=self.stop or reason, interrupted=True)

    def to_return(self) -> tuple[WayBack, ...]:
        """Return the hosts that are to go back and have not yet, each with its named earlier release; none unless the rollout stopped."""
        return () if self.interrupted else self._outstanding()

    def record_return(self, outcome: HostOutcome) -> Rollout:
        """Return the rollout with one more return ended; `outcome` is the rollback's own. ValueError for a host that is not to go back."""
        if all(way.host != outcome.host for way in self._outstanding()):
            raise ValueError(f"{outcome.host} is not to go back")
        return replace(self, returns=(*self.returns, outcome))

    def finish(self) -> tuple[HostOutcome, ...]:
        """Return an outcome for every host in the order of the batches; hosts that were never begun are skipped."""
        ended = {outcome.host: outcome for outcome in self.outcomes}
        back = {outcome.host: outcome for outcome in self.returns}
        waiting = {way.host: way.release for way in self._outstanding()}
        scope = self._scope()
        told: list[HostOutcome] = []
        for host in (host for batch in self.batches for host in batch):
            first = ended.get(host)
            if first is None:
                told.append(self._skipped(host))
            elif host in back:
                told.append(_returned(first, back[host], self.stop))
            elif host in waiting:
                told.append(_left(first, waiting[host]))
            else:
                told.append(_stranded(first) if host in scope else first)
        return tuple(told)

    def _scope(self) -> frozenset[str]:
        if not self.failed_batch or self.on_failure is OnFailure.STOP:
            return frozenset()
        first = self.failed_batch - 1 if self.on_failure is OnFailure.ROLLBACK_BATCH else 0
        return frozenset(host for batch in self.batches[first : self.failed_batch] for host in batch)

    def _outstanding(self) -> tuple[WayBack, ...]:
        scope = self._scope()
        back = _hosts(self.returns)
        return tuple(
            WayBack(host=end.host, release=end.previous)
            for end in self.outcomes
            if end.host in scope and end.host not in back and end.previous is not None and touched(end)
        )

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


def _hosts(ends: Sequence[HostOutcome]) -> frozenset[str]:
    return frozenset(end.host for end in ends)


def _honest(outcome: HostOutcome, wanted: Sequence[Wanted]) -> HostOutcome:
    aim = next((one for one in wanted if one.host == outcome.host), None)
    if outcome.state is not HostState.CONFIRMED or aim is None:
        return outcome
    if (outcome.release, outcome.digest) == (aim.release, aim.digest):
        return outcome
    found = "nothing" if outcome.digest is None else outcome.digest.short
    reason = f"it says confirmed and reads back otherwise: expected {aim.release} with the model {aim.digest.short}, found {outcome.release} with {found}"
    return replace(outcome, state=HostState.FAILED, reason=reason)


def _verdict(rollout: Rollout, number: int) -> str:
    """Return why the rollout stops for the batch `number`, empty where it does not or the batch has not ended whole."""
    batch = rollout.batches[number - 1]
    states = {outcome.host: outcome.state for outcome in rollout.outcomes}
    if any(host not in states for host in batch):
        return ""
    judged = [outcome.host for outcome in rollout.outcomes if outcome.gate_failed and outcome.host in batch]
    if judged:
        return f"batch {number} of {len(rollout.batches)}: the model did not pass the gate on {', '.join(judged)}"
    most = rollout.max_fail_percentage
    bad = [host for host in batch if states[host] in BAD]
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
