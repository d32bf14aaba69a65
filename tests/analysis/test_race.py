"""The race: who leaves and when, why it stops, who comes back, and who may gain from more threads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ota.analysis.race import RaceRules, RaceState, decide_next, worth_more_threads
from ota.core.measurement import Contender
from ota.core.objective import Formula, Limits, Objective, Weights
from ota.core.samples import HostScores
from tests.analysis.sessions import OLD, SAMPLES, answers, contender, host_log, question

FLOAT, FLOAT16, INT8 = contender("float32"), contender("float16"), contender("int8")
INT8_OLD = contender("int8", OLD)
SIZES = {"float32": 1000, "float16": 500, "int8": 280}


def race(
    ms: dict[Contender, float],
    *,
    blocks: int,
    objective: Objective | None = None,
    wrong: dict[Contender, int] | None = None,
    count: int = SAMPLES,
    rules: RaceRules | None = None,
    until: dict[Contender, int] | None = None,
    more: tuple[HostScores, ...] = (),
) -> RaceState:
    """Return the state after some blocks."""
    log = host_log(ms, blocks=blocks, until=until)
    scores = [answers(one, (wrong or {}).get(one, 0), count=count) for one in ms]
    return decide_next(log, [*scores, *more], question(SIZES, objective), baseline=FLOAT, rules=rules)


@pytest.mark.parametrize(
    ("ms", "blocks"), [(200.0, 1), (60.0, 2)], ids=["20 times after 1", "6 times after 2"]
)
def test_what_is_hopelessly_slow_leaves_early(ms: float, blocks: int) -> None:
    """A contender 20 times slower costs one turn, one 6 times slower two; the race itself goes on to the first look."""
    state = race({FLOAT: 10.0, INT8: 4.0, INT8_OLD: ms}, blocks=blocks, count=20 * blocks)
    assert INT8_OLD not in state.live
    assert not state.stop
    assert "cannot come first" in next(s.left for s in state.standings if s.contender == INT8_OLD)


def test_log_ratio_drops_the_hopeless_too() -> None:
    """Under log_ratio a contender 40 times slower than its rival leaves after one block."""
    objective = Objective(formula=Formula.LOG_RATIO, weights=Weights(accuracy=2.0, transfer=0.5))
    state = race({FLOAT: 10.0, INT8: 4.0, INT8_OLD: 200.0}, blocks=1, count=20, objective=objective)
    assert INT8_OLD not in state.live


def test_a_little_slower_stays_until_the_first_look() -> None:
    """Four blocks are no test: whoever is not hopeless stays."""
    state = race({FLOAT: 10.0, FLOAT16: 10.0, INT8: 4.0}, blocks=4)
    assert set(state.live) == {FLOAT, FLOAT16, INT8}


def test_the_race_stops_when_the_best_is_apart() -> None:
    """With a clear best after five blocks all others leave, the baseline stays live, and the reason names the best."""
    state = race({FLOAT: 10.0, FLOAT16: 10.0, INT8: 4.0}, blocks=5)
    assert (state.leader, set(state.live)) == (INT8, {FLOAT, INT8})
    assert (state.stop, state.why) == (True, "int8 is apart from all others")


def test_the_race_of_twins_stops_when_the_ratios_are_known() -> None:
    """Equal candidates are never apart; the race ends when every ratio is known to 1 %."""
    same = Objective(weights=Weights(size=0.0))
    state = race({FLOAT: 10.0, FLOAT16: 10.0}, blocks=38, objective=same)
    assert (state.stop, state.why) == (True, "every latency ratio is known to 1 %")
    state = race({FLOAT: 10.0, FLOAT16: 10.0}, blocks=5, objective=same, rules=RaceRules(precision=0.002))
    assert not state.stop
    assert state.why.startswith("2 contenders are not apart, ratios known to ")


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        (RaceRules(max_blocks=6), "all 6 blocks are measured"),
        (RaceRules(seconds=1.0), "1 s per contender are spent"),
    ],
)
def test_a_budget_ends_the_race(rules: RaceRules, why: str) -> None:
    """Blocks and seconds are bounded."""
    state = race(
        {FLOAT: 10.0, FLOAT16: 10.0}, blocks=6, objective=Objective(weights=Weights(size=0.0)), rules=rules
    )
    assert (state.stop, state.why) == (True, why)


LIMITS = {
    "size": (Limits(size_bytes=600), 0, "size 1000 bytes"),
    "latency": (Limits(latency_ms=3.0), 0, "latency"),
    "accuracy": (Limits(accuracy_drop=0.02), 60, "loses more accuracy"),
}


@pytest.mark.parametrize(("limits", "wrong", "why"), LIMITS.values(), ids=LIMITS.keys())
def test_a_broken_limit_ends_it_for_a_contender(limits: Limits, wrong: int, why: str) -> None:
    """Who breaks a limit beyond doubt leaves whatever its L; the baseline is still measured in every block."""
    state = race({FLOAT: 10.0, INT8: 4.0}, blocks=5, objective=Objective(limits=limits), wrong={INT8: wrong})
    left = {s.contender: s.left for s in state.standings if s.left}
    assert any(reason.startswith(why) for reason in left.values())
    assert FLOAT in state.live


def test_a_dropped_contender_comes_back_when_its_rival_breaks_a_limit() -> None:
    """float16 left for int8 after block 5; when all samples show that int8 loses too much, float16 is live again."""
    ms = {FLOAT: 10.0, FLOAT16: 9.0, INT8: 4.0}
    objective = Objective(limits=Limits(accuracy_drop=0.02))
    early = race(ms, blocks=5, objective=objective, count=60)
    assert FLOAT16 not in early.live
    late = race(ms, blocks=7, objective=objective, wrong={INT8: 40}, until={FLOAT16: 5})
    assert INT8 not in late.live
    assert late.leader == FLOAT16


def test_a_failed_turn_ends_it_for_a_contender() -> None:
    """Who fails once in a valid block is out, with the reason."""
    log = host_log({FLOAT: 10.0, INT8: 4.0}, blocks=2)
    first = log.blocks[0]
    broken = replace(first.turns[1], latencies_ns=(), failure="not finite", failure_kind="run")
    log = replace(log, blocks=(replace(first, turns=(first.turns[0], broken)), log.blocks[1]))
    state = decide_next(log, [answers(FLOAT, 0)], question(SIZES), baseline=FLOAT)
    assert state.live == (FLOAT,)
    assert [s.left for s in state.standings if s.contender == INT8] == ["not finite"]


def test_without_scores_nobody_is_called_apart() -> None:
    """While no answer is scored an accuracy may be anything: the race goes on."""
    log = host_log({FLOAT: 10.0, INT8: 4.0}, blocks=6)
    state = decide_next(log, [], question(SIZES), baseline=FLOAT)
    assert not state.stop
    assert set(state.live) == {FLOAT, INT8}


def test_more_threads_for_those_that_could_still_lead() -> None:
    """The leader, and who would beat it with the latency divided by the processors, get all cores; one processor gives nobody any."""
    objective = Objective(weights=Weights(size=0.0))
    state = race({FLOAT: 10.0, FLOAT16: 10.0, INT8: 9.8}, blocks=4, objective=objective)
    assert set(worth_more_threads(state, 4)) == {FLOAT, FLOAT16, INT8}
    assert worth_more_threads(state, 1) == ()
    state = race({FLOAT: 10.0, INT8: 1.0}, blocks=5, objective=objective)
    assert worth_more_threads(state, 4) == (INT8,)


def test_the_state_does_not_depend_on_the_order_of_the_scores() -> None:
    """The same data in another order give the same state."""
    ms = {FLOAT: 10.0, FLOAT16: 10.0, INT8: 9.0}
    log = host_log(ms, blocks=6)
    scores = [answers(one, 3, start=7 * place) for place, one in enumerate(ms)]
    states = [decide_next(log, order, question(SIZES), baseline=FLOAT) for order in (scores, scores[::-1])]
    assert states[0] == states[1]


def test_a_newcomer_alone_beside_the_baseline_is_compared_through_it() -> None:
    """Two contenders that share no block but for the baseline's are told apart, later by far than their first look; twins are not."""
    for ms, apart in ((4.0, True), (8.0, False)):
        veterans = host_log({FLOAT: 10.0, FLOAT16: 8.0}, blocks=6)
        newcomer = host_log({FLOAT: 10.0, INT8: ms}, blocks=6, seed=2)
        later = tuple(replace(block, number=block.number + 6) for block in newcomer.blocks)
        log = replace(veterans, blocks=veterans.blocks + later)
        scores = [answers(one, 0) for one in (FLOAT, FLOAT16, INT8)]
        sizes = SIZES | {"int8": SIZES["float16"]}
        state = decide_next(log, scores, question(sizes), baseline=FLOAT)
        assert (FLOAT16 not in state.live) == apart
        assert INT8 in state.live


def test_whether_to_stop_is_asked_of_those_who_race_on() -> None:
    """A newcomer that ties with one whose race is over ends with its own last block, though the other has had few."""
    rules = RaceRules(max_blocks=8, precision=0.0001)
    for blocks, stop in ((7, False), (8, True)):
        veterans = host_log({FLOAT: 10.0, FLOAT16: 8.0}, blocks=5)
        newcomer = host_log({FLOAT: 10.0, INT8: 8.0}, blocks=blocks, seed=2)
        later = tuple(replace(block, number=block.number + 5) for block in newcomer.blocks)
        log = replace(veterans, blocks=veterans.blocks + later)
        scores = [answers(one, 0) for one in (FLOAT, FLOAT16, INT8)]
        sizes = SIZES | {"int8": SIZES["float16"]}
        state = decide_next(
            log, scores, question(sizes), baseline=FLOAT, settled={FLOAT, FLOAT16}, rules=rules
        )
        assert FLOAT16 in state.live
        assert state.stop == stop, state.why


def test_who_is_out_for_other_reasons_is_no_rival() -> None:
    """A contender whose answers are none neither leads nor beats, though it is fastest."""
    log = host_log({FLOAT: 10.0, FLOAT16: 8.0, INT8: 1.0}, blocks=6)
    scores = [answers(one, 0) for one in (FLOAT, FLOAT16, INT8)]
    state = decide_next(log, scores, question(SIZES), baseline=FLOAT, among={FLOAT, FLOAT16})
    assert state.leader == FLOAT16
    assert INT8 not in state.live
