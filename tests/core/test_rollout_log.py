"""The journal's records replayed: whatever prefix of them was kept, the rollout stands where they left it and goes on by the same rules."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings

from benchmarks.proofs.fleet_schedules import DIGESTS, NEW, Fleet, Schedule
from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import OnFailure
from ota.core.release import Artifact, Digest, Manifest
from ota.core.rollout import Phase, Wanted
from ota.core.rollout_log import (
    BatchBegun,
    Begun,
    Ended,
    HostBegun,
    HostEnded,
    HostFound,
    HostReturned,
    Record,
    Returning,
    Standing,
    Stopped,
)
from tests.core.test_rollout_returns import SCHEDULES

MANIFEST = Manifest(model="m", artifacts=(Artifact(name="model.tflite", digest=DIGESTS[NEW], size_bytes=3),))


def begun(fleet: Fleet) -> Begun:
    """Return the plan of a fleet's rollout."""
    rollout = fleet.rollout
    return Begun(
        started="2026-01-31T10:00:00+00:00",
        play="p",
        model="m",
        selection=None,
        spec=Digest.of(b"spec"),
        probe=None,
        batches=rollout.batches,
        max_fail_percentage=rollout.max_fail_percentage,
        on_failure=rollout.on_failure,
        wanted=rollout.wanted,
        manifests=(MANIFEST,),
    )


def journal(fleet: Fleet, chance: random.Random) -> list[Record]:
    """Carry a fleet's rollout out and return what is noted on the way."""
    steps: list[Record] = []
    rollout = fleet.rollout
    while (batch := rollout.next_batch()) is not None:
        steps.append(BatchBegun(number=rollout.batches.index(batch) + 1, hosts=batch))
        for host in chance.sample(batch, len(batch)):
            found = HostFound(host=host, current=fleet.runs[host])
            end = fleet.deploy(host)
            # A host that was left before its activation ends for this run alone: a later one does it.
            end = _dead(end) if end.state is HostState.SKIPPED else end
            steps += [HostBegun(host=host), found, HostEnded(outcome=end)]
            rollout = rollout.record(end)
    if rollout.stop:
        steps.append(Stopped(reason=rollout.stop))
    if ways := rollout.to_return():
        steps.append(Returning(ways=ways))
        for way in ways:
            end = fleet.back(way.host, way.release)
            steps.append(HostReturned(outcome=end))
            rollout = rollout.record_return(end)
    fleet.rollout = rollout
    return [*steps, Ended(reason=rollout.stop)]


def _dead(end: HostOutcome) -> HostOutcome:
    return HostOutcome(
        host=end.host, state=HostState.UNREACHABLE, release=NEW, previous=None, changed=False, bytes_sent=0, digest=None
    )  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True)
@given(schedule=SCHEDULES)
def test_every_prefix_of_a_journal_goes_on_by_the_same_rules(schedule: Schedule) -> None:
    """A stop that was noted binds; hosts that ended are not begun again but to be read back; the whole journal ends as the rollout did."""
    fleet = Fleet(schedule)
    steps = journal(fleet, random.Random(len(schedule.fates)))
    standing = Standing.of(begun(fleet))
    ended: dict[str, HostState] = {}
    for step in steps:
        standing = standing.after(step)
        rollout, proven = standing.taken_up()
        if isinstance(step, HostEnded):
            ended[step.outcome.host] = tuple(standing.rollout.outcomes)[-1].state
        assert {end.host: end.state for end in standing.rollout.outcomes} == ended
        assert {end.host for end in proven} <= {
            h for h, state in ended.items() if state is HostState.CONFIRMED
        }
        if standing.rollout.stop:
            assert (rollout, proven) == (standing.rollout, ())
        again = set(rollout.next_batch() or ())
        assert again & set(ended) <= {end.host for end in proven}
        begun_batches = rollout.batches[: standing.batches_begun + 1]
        assert again <= {host for batch in begun_batches for host in batch}
    assert standing.ended
    assert standing.rollout.phase is Phase.ENDED
    assert standing.rollout.finish() == fleet.rollout.finish()
    assert {one.host: one.current for one in standing.found} == {
        host: fleet.fates[host].before for host in ended
    }


def plan(**more: object) -> Begun:
    """Return the plan of a rollout on one host, with other fields."""
    given: dict[str, object] = {
        "started": "t",
        "play": "p",
        "model": "m",
        "selection": None,
        "spec": Digest.of(b"spec"),
        "probe": None,
        "batches": (("a",),),
        "max_fail_percentage": None,
        "on_failure": OnFailure.STOP,
        "wanted": (Wanted(host="a", release=NEW, digest=DIGESTS[NEW]),),
        "manifests": (MANIFEST,),
        **more,
    }
    return Begun(**given)  # type: ignore[arg-type]


WRONG = {
    "no hosts": ({"batches": (), "wanted": ()}, "a release for each of its hosts, once"),
    "a host twice": ({"batches": (("a",), ("a",))}, "a release for each of its hosts, once"),
    "a host without a release": ({"batches": (("a", "b"),)}, "a release for each of its hosts, once"),
    "a release without its manifest": ({"manifests": ()}, "one manifest for each release"),
}


@pytest.mark.parametrize(("more", "problem"), WRONG.values(), ids=WRONG.keys())
def test_a_plan_that_is_none_is_refused(more: dict[str, object], problem: str) -> None:
    """What a journal begins with names each host once, with a release whose manifest is there."""
    with pytest.raises(ValueError, match=problem):
        Standing.of(plan(**more))


def test_nothing_follows_the_end() -> None:
    """An ended rollout takes no further record."""
    standing = Standing.of(plan()).after(Ended())
    with pytest.raises(ValueError, match="nothing like this can follow"):
        standing.after(HostBegun(host="a"))
