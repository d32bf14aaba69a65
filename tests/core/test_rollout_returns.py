"""What a stop undoes: the hosts that return, to which release, and how their ends are told; and generated fault schedules."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.proofs.fleet_schedules import DEPLOYS, RETURNS, Fate, Fleet, Schedule, faults
from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import BatchSize, OnFailure
from ota.core.release import Digest
from ota.core.rollout import Phase, Rollout, Wanted, WayBack

FINE, FAILED, GONE, BACK = HostState.CONFIRMED, HostState.FAILED, HostState.UNREACHABLE, HostState.ROLLED_BACK
MODEL = Digest.of(b"new model")


def end(host: str, state: HostState = FINE, release: str | None = "new", previous: str | None = "old", **more: object) -> HostOutcome:  # fmt: skip
    """Return an end of a host that went from one release to another."""
    given: dict[str, object] = {"changed": True, "bytes_sent": 0, "digest": MODEL, **more}
    return HostOutcome(host=host, state=state, release=release, previous=previous, **given)  # type: ignore[arg-type]


def rollout(policy: OnFailure, *ends: HostOutcome, batches: tuple[str, ...] = ("ab", "cd", "e")) -> Rollout:
    """Return a rollout in which these hosts have ended; no host may fail."""
    here = Rollout(batches=tuple(map(tuple, batches)), max_fail_percentage=0, on_failure=policy)
    for one in ends:
        here = here.record(one)
    return here


STOPPED = (end("a"), end("b"), end("c"), end("d", BACK, "old"))
RETURNING = {
    "stop: nobody": (OnFailure.STOP, ""),
    "rollback_batch: those of the failed batch that kept it": (OnFailure.ROLLBACK_BATCH, "c"),
    "rollback_all: all that kept it": (OnFailure.ROLLBACK_ALL, "abc"),
}


@pytest.mark.parametrize(("policy", "hosts"), RETURNING.values(), ids=RETURNING.keys())
def test_a_stop_undoes_what_the_policy_says(policy: OnFailure, hosts: str) -> None:
    """Hosts that may run the new release go back to the one they ran before; those that went back by themselves do not again."""
    here = rollout(policy, *STOPPED)
    assert here.to_return() == tuple(WayBack(host=host, release="old") for host in hosts)
    assert here.phase is (Phase.RETURNING if hosts else Phase.ENDED)
    for host in hosts:
        here = here.record_return(end(host, FINE, "old", "new"))
    assert here.phase is Phase.ENDED
    assert {one.host for one in here.finish() if one.state is BACK} == {"d", *hosts}
    assert all(one.release == "old" for one in here.finish() if one.state is BACK)


TOUCHED = {
    "confirmed": (end("c"), True),
    "failed, and it could not go back": (end("c", FAILED), True),
    "failed before the activation": (end("c", FAILED, "old"), False),
    "went back by itself": (end("c", BACK, "old"), False),
    "ran it before": (end("c", FINE, "new", "new", changed=False), False),
    "never met": (end("c", GONE, "new", None, changed=False), False),
    "lost while it was activated": (end("c", GONE), True),
    "left before the activation": (end("c", HostState.SKIPPED, None), False),
}


@pytest.mark.parametrize(("one", "goes"), TOUCHED.values(), ids=TOUCHED.keys())
def test_only_hosts_that_may_run_the_new_release_return(one: HostOutcome, goes: bool) -> None:
    """What a host ended in says whether there is something to undo."""
    here = rollout(OnFailure.ROLLBACK_ALL, end("a"), end("b"), one, end("d", FAILED, "old"))
    assert ("c" in {way.host for way in here.to_return()}) is goes


WAYS = {
    "back": (end("c", FINE, "old", "new"), BACK, "old", "returned to old: batch 2 of 3: d did not make it"),
    "out of reach": (end("c", GONE, "old", None, reason="no route"), HostState.UNKNOWN, "old", "out of reach when it was to return to old: it may run new; run ota rollback again when it is back (no route)"),
    "it failed there": (end("c", FAILED, "new", "new", reason="disk"), FAILED, "new", "it did not return to old: disk"),
    "it says so and runs another": (end("c", FINE, "new", "new"), FAILED, "new", "it did not return to old: found new instead"),
}  # fmt: skip


@pytest.mark.parametrize(("back", "state", "release", "reason"), WAYS.values(), ids=WAYS.keys())
def test_how_a_return_is_told(back: HostOutcome, state: HostState, release: str, reason: str) -> None:
    """A return ends in the earlier release read back, a failure with its reason, or unknown with the earlier release as what it should run."""
    here = rollout(OnFailure.ROLLBACK_BATCH, *STOPPED).record_return(back)
    told = here.finish()[2]
    assert (told.state, told.release, told.previous) == (state, release, "old")
    assert told.reason.startswith(reason)


def test_a_host_without_an_earlier_release_keeps_the_new_one_and_fails() -> None:
    """There is nothing to return to on a board that ran nothing before: it is a failure that says so, and one out of reach is unknown."""
    here = rollout(OnFailure.ROLLBACK_ALL, end("a", previous=None), end("b", GONE, previous=None))
    assert here.to_return() == ()
    first, lost = here.finish()[:2]
    assert (first.state, first.release) == (FAILED, "new")
    assert first.reason == "there is no earlier release to return to: it keeps new"
    assert (lost.state, lost.release) == (HostState.UNKNOWN, None)


def test_a_host_that_was_never_met_does_not_want_the_release_that_was_undone() -> None:
    """After rollback_all the store keeps what it expected of a host that the rollout could not reach."""
    here = rollout(
        OnFailure.ROLLBACK_ALL, end("a", GONE, "new", None, changed=False), end("b", FAILED, "old")
    )
    assert (here.finish()[0].state, here.finish()[0].release) == (GONE, None)


def test_nothing_returns_after_a_person_stopped_it() -> None:
    """Ctrl-C undoes nothing, and a host that waited for its way back says so."""
    assert rollout(OnFailure.ROLLBACK_ALL, end("a")).interrupt("interrupted").to_return() == ()
    here = rollout(OnFailure.ROLLBACK_ALL, *STOPPED).interrupt("interrupted")
    assert here.phase is Phase.ENDED
    assert (
        here.finish()[0].reason == "it was to return to old and did not yet: ota deploy --resume takes it up"
    )


def test_a_return_that_was_not_asked_for_is_a_slip() -> None:
    """A host returns once, and only one that is to."""
    here = rollout(OnFailure.ROLLBACK_BATCH, *STOPPED).record_return(end("c", FINE, "old", "new"))
    for host in ("a", "c", "z"):
        with pytest.raises(ValueError, match="is not to go back"):
            here.record_return(end(host))


def test_a_lying_host_counts_as_failed() -> None:
    """A host that says confirmed and read back another model or release stops a rollout in which none may fail, and returns."""
    wanted = tuple(Wanted(host=host, release="new", digest=MODEL) for host in "ab")
    for lie in (end("a", digest=Digest.of(b"x")), end("a", digest=None), end("a", FINE, "other")):
        here = Rollout(batches=(("a",), ("b",)), wanted=wanted, on_failure=OnFailure.ROLLBACK_ALL).record(lie)
        assert here.stop == "batch 1 of 2: a did not make it, which is the whole batch"
        assert here.end_of("a").reason.startswith("it says confirmed and reads back otherwise: expected new")
        assert here.to_return() == (WayBack(host="a", release="old"),)


FATES = st.builds(
    Fate,
    before=st.sampled_from(["old", "new", None]),
    deploy=st.sampled_from(DEPLOYS),
    back=st.sampled_from(RETURNS),
)
SIZES = st.one_of(
    st.integers(1, 8).map(lambda n: BatchSize(count=n)), st.floats(1, 100).map(lambda p: BatchSize(percent=p))
)
SCHEDULES = st.builds(
    Schedule,
    fates=st.lists(st.one_of(FATES, st.just(Fate(before="old", deploy="fine", back="fine"))), min_size=1, max_size=12).map(tuple),
    serial=st.lists(SIZES, max_size=3).map(tuple),
    most=st.one_of(st.none(), st.floats(0, 100)),
    policy=st.sampled_from(list(OnFailure)),
    patience=st.integers(0, 20),
)  # fmt: skip


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(schedule=SCHEDULES, chance=st.randoms(use_true_random=False))
def test_no_fault_schedule_breaks_a_promise(schedule: Schedule, chance: random.Random) -> None:
    """Whatever fails at whatever phase: no batch after a stop, none touched beyond the batches begun, no new release left untold after a rollback."""
    fleet = Fleet(schedule)
    fleet.carry_out(chance)
    assert faults(fleet) == []
