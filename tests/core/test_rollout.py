"""The rollout's rules: batches, when it stops, and that every host ends exactly once."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import BatchSize
from ota.core.rollout import BAD, Rollout, batches_of


def outcome(host: str, state: HostState = HostState.CONFIRMED) -> HostOutcome:
    """Return an end of a host."""
    return HostOutcome(
        host=host, state=state, release=None, previous=None, changed=False, bytes_sent=0, digest=None
    )


def count(number: int) -> BatchSize:
    """Return a batch of that many hosts."""
    return BatchSize(count=number)


def percent(number: float) -> BatchSize:
    """Return a batch of that share of the hosts."""
    return BatchSize(percent=number)


BATCHES = {
    "no serial is one batch": (5, (), [5]),
    "the last size repeats": (7, (count(1), count(2)), [1, 2, 2, 2]),
    "a percentage is of all hosts, rounded down": (10, (percent(25),), [2, 2, 2, 2, 2]),
    "a percentage is at least one host": (3, (percent(10),), [1, 1, 1]),
    "a canary, then the rest": (5, (count(1), percent(100)), [1, 4]),
    "a size beyond the hosts": (2, (count(10),), [2]),
    "no hosts, no batches": (0, (count(1),), []),
}


@pytest.mark.parametrize(("hosts", "serial", "sizes"), BATCHES.values(), ids=BATCHES.keys())
def test_hosts_are_cut_into_batches(hosts: int, serial: tuple[BatchSize, ...], sizes: list[int]) -> None:
    """Batches follow `serial` as in Ansible and keep the order of the hosts."""
    names = [f"h{number}" for number in range(hosts)]
    batches = batches_of(names, serial)
    assert [len(batch) for batch in batches] == sizes
    assert [name for batch in batches for name in batch] == names


FAILED, GONE, BACK, FINE = HostState.FAILED, HostState.UNREACHABLE, HostState.ROLLED_BACK, HostState.CONFIRMED

STOPS = {
    "a whole batch failed": (
        [["a"], ["b"]],
        None,
        [FAILED],
        "batch 1 of 2: a did not make it, which is the whole batch",
    ),
    "half a batch failed and no percentage is given": ([["a", "b"], ["c"]], None, [FAILED, FINE], ""),
    "zero per cent: one is too many": (
        [["a", "b"], ["c"]],
        0,
        [FINE, FAILED],
        "batch 1 of 2: b did not make it, 50 % where at most 0 % may fail",
    ),
    "unreachable counts": ([["a", "b"], ["c"]], 0, [GONE, FINE], "50 % where at most 0 %"),
    "rolled back counts": ([["a", "b"], ["c"]], 0, [BACK, FINE], "50 % where at most 0 %"),
    "the percentage must be exceeded": ([["a", "b"], ["c"]], 50, [FAILED, FINE], ""),
    "100 never stops": ([["a"], ["b"]], 100, [FAILED], ""),
    "a batch is judged when it is whole": ([["a", "b"], ["c"]], 0, [FAILED], ""),
}


@pytest.mark.parametrize(("batches", "most", "states", "stop"), STOPS.values(), ids=STOPS.keys())
def test_a_rollout_stops_by_its_rules(
    batches: list[list[str]], most: float | None, states: list[HostState], stop: str
) -> None:
    """The share of a batch that failed, unreachable hosts counted, decides, and the reason names the hosts."""
    rollout = Rollout(batches=tuple(tuple(batch) for batch in batches), max_fail_percentage=most)
    for host, state in zip([host for batch in batches for host in batch], states, strict=False):
        rollout = rollout.record(outcome(host, state))
    if stop:
        assert stop in rollout.stop
        assert rollout.next_batch() is None
        assert rollout.finish()[-1].state is HostState.SKIPPED
        assert stop in rollout.finish()[-1].reason
    else:
        assert rollout.stop == ""
        assert rollout.next_batch() is not None


@pytest.mark.parametrize("most", [None, 100.0])
def test_a_model_that_does_not_pass_the_gate_on_one_host_stops_the_rollout(most: float | None) -> None:
    """At the end of its batch, however many hosts may fail."""
    rollout = Rollout(batches=(("a", "b"), ("c",)), max_fail_percentage=most)
    rollout = rollout.record(replace(outcome("a", BACK), gate_failed=True))
    assert rollout.next_batch() == ("b",)
    rollout = rollout.record(outcome("b"))
    assert rollout.next_batch() is None
    assert rollout.stop == "batch 1 of 2: the model did not pass the gate on a"
    assert rollout.failed_batch == 1


def test_a_host_ends_once() -> None:
    """A host that ended, or that is in no batch, is a slip and is raised."""
    rollout = Rollout(batches=(("a",),)).record(outcome("a"))
    for host in ("a", "z"):
        with pytest.raises(ValueError, match="is not under way"):
            rollout.record(outcome(host))


def test_an_interrupted_rollout_skips_the_rest() -> None:
    """After an interruption no batch begins, and hosts that were never begun say so."""
    rollout = Rollout(batches=(("a",), ("b",))).record(outcome("a")).interrupt("interrupted")
    assert rollout.next_batch() is None
    assert [(o.host, o.state, o.reason) for o in rollout.finish()][1] == (
        "b",
        HostState.SKIPPED,
        "not begun: interrupted",
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    states=st.lists(st.sampled_from([FAILED, GONE, BACK, FINE]), min_size=1, max_size=30),
    serial=st.lists(st.one_of(st.integers(1, 8).map(count), st.floats(1, 100).map(percent)), max_size=3),
    most=st.one_of(st.none(), st.floats(0, 100)),
)
def test_hosts_touched_never_exceed_the_budget(
    states: list[HostState], serial: list[BatchSize], most: float | None
) -> None:
    """No batch begins after one that broke the rule; every host ends exactly once; only begun hosts end otherwise than skipped."""
    names = [f"h{number}" for number in range(len(states))]
    fate = dict(zip(names, states, strict=True))
    rollout = Rollout(batches=batches_of(names, serial), max_fail_percentage=most)
    begun: list[tuple[str, ...]] = []
    while (batch := rollout.next_batch()) is not None:
        begun.append(batch)
        for host in batch:
            rollout = rollout.record(outcome(host, fate[host]))
    for batch in begun[:-1]:
        share = 100 * sum(fate[host] in BAD for host in batch) / len(batch)
        assert share <= most if most is not None else share < 100
    assert [end.host for end in rollout.finish()] == names
    touched = {host for batch in begun for host in batch}
    assert {end.host for end in rollout.finish() if end.state is not HostState.SKIPPED} == touched
    assert touched == set(names) or rollout.stop


def test_a_bad_canary_is_all_that_is_touched() -> None:
    """However many hosts there are, one bad host in a canary of one ends a rollout that may not fail everywhere."""
    for most in (None, 0, 50, 99.9):
        batches = batches_of([f"h{number}" for number in range(50)], (count(1), percent(100)))
        rollout = Rollout(batches=batches, max_fail_percentage=most).record(outcome("h0", GONE))
        assert rollout.next_batch() is None
        assert sum(end.state is HostState.SKIPPED for end in rollout.finish()) == 49


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    states=st.lists(st.sampled_from([FAILED, GONE, BACK, FINE]), min_size=1, max_size=30),
    serial=st.lists(st.one_of(st.integers(1, 8).map(count), st.floats(1, 100).map(percent)), max_size=3),
    most=st.one_of(st.none(), st.integers(0, 100)),
    chance=st.randoms(use_true_random=False),
    patience=st.integers(0, 30),
)
def test_the_order_of_ends_and_an_interruption_change_no_rule(
    states: list[HostState],
    serial: list[BatchSize],
    most: int | None,
    chance: random.Random,
    patience: int,
) -> None:
    """Hosts end in any order and a person may stop at any moment: bad hosts stay within the budget and one batch, nothing is lost."""
    names = [f"h{number}" for number in range(len(states))]
    fate = dict(zip(names, states, strict=True))
    rollout = Rollout(batches=batches_of(names, serial), max_fail_percentage=most)
    begun: list[tuple[str, ...]] = []
    while (batch := rollout.next_batch()) is not None:
        begun.append(batch)
        for host in chance.sample(batch, len(batch)):
            rollout = rollout.record(outcome(host, fate[host]))
            patience -= 1
            rollout = rollout.interrupt("interrupted") if patience == 0 else rollout
    budget = sum(len(batch) - 1 if most is None else most * len(batch) // 100 for batch in begun[:-1])
    bad = sum(fate[host] in BAD for batch in begun for host in batch)
    assert bad <= budget + (len(begun[-1]) if begun else 0)
    again = Rollout(batches=rollout.batches, max_fail_percentage=most)
    for end in rollout.outcomes:
        again = again.record(end)
    assert again.outcomes == rollout.outcomes
    assert rollout.stop in {again.stop, "interrupted"}
    assert [end.host for end in rollout.finish()] == names
