"""Generated fleets with faults at every phase, carried through the pure rollout: no more hosts touched than begun batches hold, none left in doubt untold.

Run it by `make proof-fleet-schedules`, or `python -m benchmarks.proofs.fleet_schedules`.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, replace

from benchmarks.proofs.figures import Figures
from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import BatchSize, OnFailure
from ota.core.release import Digest
from ota.core.rollout import BAD, Phase, Rollout, Wanted, batches_of

SCHEDULES = 100_000
SECONDS = 120
OLD, NEW = "old", "new"
DIGESTS = {OLD: Digest.of(b"old"), NEW: Digest.of(b"new")}

DEPLOYS = ("fine", "refused", "reverted", "stuck", "lies", "dead", "lost", "lost and reverted", "stopped")
"""How a host takes the release; `lies`: it says confirmed, and its model is another; `stopped`: left before it was activated."""
RETURNS = ("fine", "gone", "fails", "lies", "reverts")
"""How a host takes the way back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What a host ran before (None: nothing), and what befalls it at each phase."""

    before: str | None
    deploy: str
    back: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A fleet, how it is rolled out, and after how many ends a person stops it (0: never)."""

    fates: tuple[Fate, ...]
    serial: tuple[BatchSize, ...]
    most: float | None
    policy: OnFailure
    patience: int = 0


class Fleet:
    """The devices behind a schedule: what each really runs, and which were touched."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.fates = {f"h{number}": fate for number, fate in enumerate(schedule.fates)}
        self.runs: dict[str, str | None] = {host: fate.before for host, fate in self.fates.items()}
        self.touched: set[str] = set()
        self.begun: list[tuple[str, ...]] = []
        self.rollout = Rollout(
            batches=batches_of(list(self.fates), schedule.serial),
            max_fail_percentage=schedule.most,
            on_failure=schedule.policy,
            wanted=tuple(Wanted(host=host, release=NEW, digest=DIGESTS[NEW]) for host in self.fates),
        )

    def carry_out(self, chance: random.Random) -> None:
        """Roll out and return, hosts ending in any order."""
        patience = self.schedule.patience
        while (batch := self.rollout.next_batch()) is not None:
            self.begun.append(batch)
            for host in chance.sample(batch, len(batch)):
                self.rollout = self.rollout.record(self.deploy(host))
                patience -= 1
                if patience == 0:
                    self.rollout = self.rollout.interrupt("interrupted")
        while ways := self.rollout.to_return():
            way = chance.choice(ways)
            self.rollout = self.rollout.record_return(self.back(way.host, way.release))
            patience -= 1
            if patience == 0:
                self.rollout = self.rollout.interrupt("interrupted")

    def deploy(self, host: str) -> HostOutcome:
        """Return how a host ends, and let its device become that."""
        fate = self.fates[host]
        if fate.deploy in {"dead", "stopped"}:
            state = HostState.UNREACHABLE if fate.deploy == "dead" else HostState.SKIPPED
            return _end(host, state, NEW if fate.deploy == "dead" else None, None)
        if fate.before == NEW:
            return _end(host, HostState.CONFIRMED, NEW, NEW, steps_ok=1)
        self.touched.add(host)
        if fate.deploy in {"refused", "reverted"}:
            state = HostState.FAILED if fate.deploy == "refused" else HostState.ROLLED_BACK
            return _end(host, state, fate.before, fate.before, steps_ok=1)
        if fate.deploy != "lost and reverted":
            self.runs[host] = NEW
        if fate.deploy in {"lost", "lost and reverted"}:
            return _end(host, HostState.UNREACHABLE, NEW, fate.before, steps_ok=2, changed=True)
        state = HostState.FAILED if fate.deploy == "stuck" else HostState.CONFIRMED
        end = _end(host, state, NEW, fate.before, steps_ok=2, changed=True)
        return replace(end, digest=DIGESTS[OLD]) if fate.deploy == "lies" else end

    def back(self, host: str, release: str) -> HostOutcome:
        """Return how a host's way back ends, and let its device become that."""
        how, now = self.fates[host].back, self.runs[host]
        if how == "gone":
            return _end(host, HostState.UNREACHABLE, release, None)
        if how == "fails":
            return _end(host, HostState.FAILED, now, now)
        if how == "reverts":
            return _end(host, HostState.ROLLED_BACK, now, now)
        if how == "lies":
            return _end(host, HostState.CONFIRMED, NEW, now)
        self.runs[host] = release
        return _end(host, HostState.CONFIRMED, release, now)


def faults(fleet: Fleet) -> list[str]:
    """Return which of the rollout's promises a fleet that was carried through breaks."""
    rollout, schedule = fleet.rollout, fleet.schedule
    ends = {end.host: end for end in rollout.finish()}
    begun = {host for batch in fleet.begun for host in batch}
    found = {
        "a host has not exactly one outcome": [end.host for end in rollout.finish()] != list(fleet.fates),
        "a host outside the begun batches was touched": not fleet.touched <= begun,
        "a batch began after a stop": any(_too_many(fleet, batch) for batch in fleet.begun[:-1]),
        "it has not ended": rollout.phase is not Phase.ENDED,
        "a host was returned that was not touched": not {e.host for e in rollout.returns} <= fleet.touched,
        "something returned without a stop": bool(rollout.returns) and not rollout.failed_batch,
        "an end has no reason": any(e.state is not HostState.CONFIRMED and not e.reason for e in ends.values() if e.host not in begun),
        "something is confirmed that is not there": any(_untrue(fleet, end) for end in ends.values()),
    }  # fmt: skip
    if rollout.failed_batch and not rollout.interrupted and schedule.policy is not OnFailure.STOP:
        scope = set(fleet.begun[-1]) if schedule.policy is OnFailure.ROLLBACK_BATCH else begun
        found["a host was left on the new release, untold"] = any(
            fleet.runs[host] == NEW != fleet.fates[host].before and not _told(fleet, ends[host])
            for host in scope
        )
        found["an unknown host does not want its earlier release"] = any(
            end.state is HostState.UNKNOWN and end.release != fleet.fates[end.host].before
            for end in ends.values()
        )
    return [what for what, broken in found.items() if broken]


def schedule_of(chance: random.Random) -> Schedule:
    """Return a schedule drawn at random."""
    hosts = chance.randint(1, 24)
    worst = chance.random()
    fates = [
        Fate(
            before=chance.choices((OLD, NEW, None), (8, 1, 1))[0],
            deploy=chance.choice(DEPLOYS) if chance.random() < worst else "fine",
            back=chance.choice(RETURNS) if chance.random() < worst else "fine",
        )
        for _ in range(hosts)
    ]
    return Schedule(
        fates=tuple(fates),
        serial=tuple(_size(chance) for _ in range(chance.randint(0, 3))),
        most=chance.choice((None, 0.0, 10.0, 34.0, 50.0, 100.0)),
        policy=chance.choice(tuple(OnFailure)),
        patience=chance.choice((0, 0, 0, chance.randint(1, 2 * hosts))),
    )


def _size(chance: random.Random) -> BatchSize:
    if chance.random() < 0.5:
        return BatchSize(count=chance.randint(1, 8))
    return BatchSize(percent=float(chance.randint(1, 100)))


def _end(
    host: str, state: HostState, release: str | None, previous: str | None, *, steps_ok: int = 0, changed: bool = False
) -> HostOutcome:  # fmt: skip
    met = state in {HostState.CONFIRMED, HostState.FAILED, HostState.ROLLED_BACK}
    return HostOutcome(
        host=host,
        state=state,
        release=release,
        previous=previous,
        changed=changed,
        bytes_sent=0,
        digest=DIGESTS.get(release or "") if met else None,
        reason="" if state is HostState.CONFIRMED else state.value,
        steps_ok=steps_ok,
    )


def _too_many(fleet: Fleet, batch: tuple[str, ...]) -> bool:
    bad = sum(end.state in BAD for end in fleet.rollout.outcomes if end.host in batch)
    most = fleet.schedule.most
    whole = next(whole for whole in fleet.rollout.batches if set(batch) <= set(whole))
    return bad == len(whole) if most is None else 100 * bad > most * len(whole)


def _untrue(fleet: Fleet, end: HostOutcome) -> bool:
    if end.state not in {HostState.CONFIRMED, HostState.ROLLED_BACK}:
        return False
    fate = fleet.fates[end.host]
    lied = end.state is HostState.CONFIRMED and fate.deploy == "lies" and fate.before != NEW
    return lied or end.release != fleet.runs[end.host]


def _told(fleet: Fleet, end: HostOutcome) -> bool:
    """Say whether a host that still runs the new release was asked to return, could not, and is told to have failed or to be unknown."""
    fate = fleet.fates[end.host]
    excused = fate.before is None or fate.back != "fine"
    return excused and end.state in {HostState.UNKNOWN, HostState.FAILED} and bool(end.reason)


def main() -> None:
    """Carry every schedule through, and print what was broken."""
    figures = Figures()
    began = time.monotonic()
    broken: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for seed in range(SCHEDULES):
        chance = random.Random(seed)
        fleet = Fleet(schedule_of(chance))
        fleet.carry_out(chance)
        broken.update(faults(fleet))
        seen.update({end.state.value for end in fleet.rollout.finish()})
        seen["stopped"] += bool(fleet.rollout.failed_batch)
        seen["returned"] += bool(fleet.rollout.returns)
    seconds = time.monotonic() - began
    print(
        f"{SCHEDULES} schedules in {seconds:.0f} s; with "
        + ", ".join(f"{k} {v}" for k, v in sorted(seen.items()))
    )
    for what, times in broken.most_common():
        print(f"  broken: {what}: {times}")
    figures.add("fault schedules", SCHEDULES, ">=", 100_000)
    figures.add("promises broken", sum(broken.values()), "<=", 0)
    figures.add("schedules in which hosts returned", seen["returned"], ">=", 10_000)
    figures.add("time", seconds, "<=", SECONDS, unit=" s")
    figures.finish()


if __name__ == "__main__":
    main()
