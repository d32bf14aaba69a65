"""The journal of a rollout as values: one record a step, and where the rollout stands after each of them.

Invariant: what is replayed passes the same rules as what happened, so that a journal that could not have happened is told apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ota.core.by_host import ByHost
from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import OnFailure
from ota.core.release import Digest, Manifest
from ota.core.rollout import Rollout, Wanted, WayBack


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A rollout begins: the whole plan, so that it can be taken up without the selection or file it came from.

    `started` is UTC, ISO 8601; `spec` is the digest of the play's `deploy:`, `manifests` are those of the distinct releases in `wanted`; `probe` as in the order.
    """

    started: str
    play: str
    model: str
    selection: str | None
    spec: Digest
    probe: Digest | None
    batches: tuple[tuple[str, ...], ...]
    max_fail_percentage: float | None
    on_failure: OnFailure
    wanted: tuple[Wanted, ...]
    manifests: tuple[Manifest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBegun:
    """A batch begins; `number` counts from 1."""

    number: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBegun:
    """A host's job begins."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFound:
    """What a host ran when this rollout first met it, None: nothing. Noted before anything is changed there; the first one counts."""

    host: str
    current: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEnded:
    """A host ended."""

    outcome: HostOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """No further batch begins. A stop by a person binds only the run that it ended."""

    reason: str
    by_person: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Returning:
    """These hosts go back to their earlier releases."""

    ways: tuple[WayBack, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReturned:
    """A host's return ended; the outcome is the rollback's own."""

    outcome: HostOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The rollout has ended, whole or by its own rules; `reason` is why it stopped, or that a later one took its place."""

    reason: str = ""


Record = Begun | BatchBegun | HostBegun | HostFound | HostEnded | Stopped | Returning | HostReturned | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a journalled rollout stands; `found` is the first of each host, `batches_begun` the highest number of a batch that began."""

    begun: Begun
    rollout: Rollout
    found: ByHost[HostFound] = field(default_factory=ByHost)
    batches_begun: int = 0
    ended: bool = False

    @classmethod
    def of(cls, begun: Begun) -> Standing:
        """Return the standing of a rollout that has just begun; ValueError where its plan is none."""
        hosts = [host for batch in begun.batches for host in batch]
        ids = {one.release for one in begun.wanted}
        if not hosts or len(set(hosts)) != len(hosts) or [one.host for one in begun.wanted] != hosts:
            raise ValueError("its plan does not name a release for each of its hosts, once")
        if len(begun.manifests) != len(ids):
            raise ValueError("its plan has not one manifest for each release")
        return cls(begun=begun, rollout=_rolled(begun, ()))

    def after(self, record: Record) -> Standing:
        """Return the standing after one more record; ValueError for one that cannot follow."""
        if self.ended or isinstance(record, Begun):
            raise ValueError("nothing like this can follow here")
        self._know(record)
        after = self
        match record:
            case BatchBegun():
                after = replace(self, batches_begun=max(self.batches_begun, record.number))
            case HostFound() if record.host not in self.found:
                after = replace(self, found=self.found.adding(record))
            case HostEnded():
                after = self._host_ended(record.outcome)
            case HostReturned():
                after = replace(self, rollout=self.rollout.record_return(record.outcome))
            case Ended():
                after = replace(self, ended=True)
            case _:
                pass
        return after

    def taken_up(self) -> tuple[Rollout, tuple[HostOutcome, ...]]:
        """Return the rollout as it goes on, and the confirmed ends that are to be read back before they count again."""
        proven = tuple(end for end in self.rollout.outcomes if end.state is HostState.CONFIRMED)
        if self.rollout.stop or self.ended:
            return self.rollout, ()
        return _rolled(
            self.begun, [end for end in self.rollout.outcomes if end.state is not HostState.CONFIRMED]
        ), proven

    def _host_ended(self, outcome: HostOutcome) -> Standing:
        if outcome.state is HostState.SKIPPED:
            return self
        if outcome.host not in self.rollout.outcomes:
            return replace(self, rollout=self.rollout.record(outcome))
        if self.rollout.stop:
            raise ValueError(f"{outcome.host} ended after the stop a second time")
        ends = [outcome if end.host == outcome.host else end for end in self.rollout.outcomes]
        return replace(self, rollout=_rolled(self.begun, ends))

    def _know(self, record: Record) -> None:
        strange = {host for host in _named(record) if not self.rollout.number_of(host)}
        if strange:
            raise ValueError(f"{', '.join(sorted(strange))} is not in its plan")


def _named(record: Record) -> tuple[str, ...]:
    match record:
        case BatchBegun():
            return record.hosts
        case HostBegun() | HostFound():
            return (record.host,)
        case HostEnded() | HostReturned():
            return (record.outcome.host,)
        case Returning():
            return tuple(way.host for way in record.ways)
        case _:
            return ()


def _rolled(begun: Begun, ends: Iterable[HostOutcome]) -> Rollout:
    rollout = Rollout(
        batches=begun.batches,
        max_fail_percentage=begun.max_fail_percentage,
        on_failure=begun.on_failure,
        wanted=begun.wanted,
    )
    for end in ends:
        rollout = rollout.record(end)
    return rollout
