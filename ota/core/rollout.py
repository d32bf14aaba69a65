"""The state machine of a rollout: which hosts are next, when it stops, and what is said of hosts that were never begun.

Rules, after Ansible's `serial` and `max_fail_percentage` with two deliberate differences: unreachable hosts count as failed, and a rollout stops
for a batch that failed whole only where no percentage is given (so 100 never stops). The percentage must be exceeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import BatchSize

BAD = frozenset((HostState.FAILED, HostState.ROLLED_BACK, HostState.UNREACHABLE))
"""The ends that count against a rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Where a rollout stands: all its batches, and the outcomes so far. `stop` is why no further batch begins, empty while none is barred."""

    batches: tuple[tuple[str, ...], ...]
    max_fail_percentage: float | None = None
    outcomes: tuple[HostOutcome, ...] = ()
    stop: str = ""

    def record(self, outcome: HostOutcome) -> Rollout:
        """Return the rollout with one more host ended; ValueError for a host that is not in it or has ended already."""
        if not any(outcome.host in batch for batch in self.batches) or outcome.host in self._ended():
            raise ValueError(f"{outcome.host} is not under way")
        after = replace(self, outcomes=(*self.outcomes, outcome))
        return replace(after, stop=after.stop or _verdict(after))

    def next_batch(self) -> tuple[str, ...] | None:
        """Return the first batch with hosts that have not ended, without those that have; None when all did or the rollout stopped."""
        ended = self._ended()
        for batch in self.batches:
            left = tuple(host for host in batch if host not in ended)
            if left:
                return None if self.stop else left
        return None

    def interrupt(self, reason: str) -> Rollout:
        """Return the rollout stopped from outside."""
        return replace(self, stop=self.stop or reason)

    def finish(self) -> tuple[HostOutcome, ...]:
        """Return an outcome for every host in the order of the batches; hosts that were never begun are skipped."""
        ended = {outcome.host: outcome for outcome in self.outcomes}
        return tuple(ended.get(host) or self._skipped(host) for batch in self.batches for host in batch)

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

    def _ended(self) -> frozenset[str]:
        return frozenset(outcome.host for outcome in self.outcomes)


def _verdict(rollout: Rollout) -> str:
    """Return why the rollout stops, judging each batch that has ended whole."""
    states = {outcome.host: outcome.state for outcome in rollout.outcomes}
    most = rollout.max_fail_percentage
    for number, batch in enumerate(rollout.batches, 1):
        if any(host not in states for host in batch):
            continue
        bad = [host for host in batch if states[host] in BAD]
        share = 100 * len(bad) / len(batch)
        where = f"batch {number} of {len(rollout.batches)}: {', '.join(bad)} did not make it"
        if most is None and len(bad) == len(batch):
            return f"{where}, which is the whole batch"
        if most is not None and share > most:
            return f"{where}, {share:.0f} % where at most {most:g} % may fail"
    return ""


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
