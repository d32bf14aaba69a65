"""The verdict: winner, tie, unreliable, none; limits first; settings, classes, front, stability, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ota.analysis.verdict import decide, unfinished
from ota.core.device_class import DeviceClass
from ota.core.measurement import Contender, Failure, FailureKind
from ota.core.objective import Formula, Limits, Objective, Weights
from ota.core.samples import Examination, HostLog, HostScores
from ota.core.verdict import Answer, Row, Status, Verdict
from tests.analysis.sessions import NEW, OLD, SAMPLES, answers, contender, host_log, sample_log

FLOAT, FLOAT16, INT8 = contender("float32"), contender("float16"), contender("int8")
SIZES = {"float32": 1000, "float16": 500, "int8": 280}
MS = {FLOAT: 10.0, FLOAT16: 10.0, INT8: 4.0}


def verdict(
    *logs: HostLog,
    objective: Objective | None = None,
    wrong: dict[Contender, int] | None = None,
    count: dict[Contender, int] | None = None,
    classes: tuple[DeviceClass, ...] | None = None,
    failures: tuple[Failure, ...] = (),
) -> Verdict:
    """Return the verdict over all hosts of the logs, or of the classes."""
    scores: dict[str, list[HostScores]] = {}
    for log in logs:
        seen = sorted({turn.contender for block in log.blocks for turn in block.turns})
        scores[log.host] = [
            answers(one, (wrong or {}).get(one, 0), count=(count or {}).get(one, SAMPLES)) for one in seen
        ]
    whole = sample_log(SIZES, *logs, classes=classes)
    hosts = tuple(name for one in whole.classes for name in one.hosts)
    return decide(
        whole, scores, failures, objective or Objective(), scope="all", hosts=hosts, seed=whole.seed
    )


def row_of(found: Verdict, scheme: str) -> Row:
    """Return a scheme's row."""
    return next(row for row in found.rows if row.scheme == scheme)


def test_a_clear_best_is_the_winner() -> None:
    """int8, smaller and faster with the same answers, wins everywhere: apart, on the front, stable, and it dominates the others."""
    found = verdict(host_log(MS))
    assert (found.answer, found.winner and found.winner.scheme) == (Answer.WINNER, "int8")
    assert found.cause.startswith("int8 (L -1.3")
    assert [row.scheme for row in found.rows] == ["int8", "float16", "float32"]
    assert row_of(found, "float32").dominated_by == "int8"
    assert row_of(found, "int8").dominated_by == ""
    assert row_of(found, "float16").reason.startswith("L -0.50 against -1.3")
    assert "size -0.50 against -0.72" in row_of(found, "float16").reason
    assert found.stability is not None
    assert (found.stability.resamples, found.stability.weights, found.stability.flips) == (1.0, 1.0, ())
    assert found.settings == (("a", INT8.setting),)


def test_twins_are_a_tie_and_the_simplest_is_proposed() -> None:
    """Two schemes alike in all but name are a tie; the earlier in SCHEMES is proposed, and the cause names both."""
    sizes_alike = Objective(weights=Weights(size=0.0))
    found = verdict(host_log({FLOAT: 10.0, FLOAT16: 5.0, INT8: 5.0}), objective=sizes_alike)
    assert found.answer is Answer.TIE
    assert found.tied == ("int8", "float16")
    assert found.winner is not None
    assert found.winner.scheme == "int8"
    assert "are not apart; int8 is proposed as the smallest" in found.cause


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (host_log(MS, unreliable="throttled three blocks in a row"), "a: throttled three blocks in a row"),
        (host_log(MS, blocks=3), "a: 3 valid blocks, at least 5 are needed"),
    ],
    ids=["the host says so", "too few blocks"],
)
def test_what_cannot_be_trusted_has_no_winner(log: HostLog, cause: str) -> None:
    """An unreliable host or too few blocks: no winner, and the cause with the host."""
    found = verdict(log)
    assert (found.answer, found.winner, found.cause) == (Answer.UNRELIABLE, None, cause)


def test_void_blocks_count_for_nothing() -> None:
    """The verdict is the same with a void block of absurd times as without it."""
    log = host_log(MS)
    bad = replace(host_log({one: 1e4 / ms for one, ms in MS.items()}).blocks[0], number=99, void="throttled")
    assert verdict(replace(log, blocks=(*log.blocks, bad))) == verdict(log)


def test_a_limit_that_is_broken_rejects_and_one_that_is_open_says_what_decides() -> None:
    """60 of 400 lost break a limit of 2 %, 6 of 400 leave it open with the samples that would decide, none keep it."""
    limits = Objective(limits=Limits(accuracy_drop=0.02))
    broken = verdict(host_log(MS), objective=limits, wrong={INT8: 60})
    row = row_of(broken, "int8")
    assert (row.status, broken.winner and broken.winner.scheme) == (Status.REJECTED, "float16")
    assert row.reason == "the loss of accuracy 0.15 on a, limit 0.02"
    open_ = verdict(host_log(MS), objective=limits, wrong={INT8: 6})
    row = row_of(open_, "int8")
    assert row.status is Status.UNDECIDED
    needed = row.estimates[0].quality.needed
    assert needed > 0
    assert f"needs {needed} more samples" in row.reason
    assert any("int8 might be better" in warning for warning in open_.warnings)
    assert verdict(host_log(MS), objective=limits).winner == row.candidate


def test_nothing_feasible_is_said_with_what_is_open() -> None:
    """Where even the baseline breaks a limit there is no winner."""
    found = verdict(host_log(MS), objective=Objective(limits=Limits(latency_ms=1.0)))
    assert (found.answer, found.winner, found.stability) == (Answer.NONE, None, None)
    assert {row.status for row in found.rows} == {Status.REJECTED}


def test_an_incomplete_contender_never_wins_and_is_unfinished() -> None:
    """int8 would be first but ran on 100 samples: float16 is proposed, and int8 is named as what must be completed."""
    found = verdict(host_log(MS), count={INT8: 100})
    assert found.winner is not None
    assert found.winner.scheme == "float16"
    assert unfinished(found) == (("a", INT8),)
    assert unfinished(verdict(host_log(MS))) == ()


def test_a_hopeless_dropped_contender_need_not_be_finished() -> None:
    """Who left after two blocks and cannot reach the best is not asked for again."""
    slow = contender("int8", OLD)
    found = verdict(host_log({**MS, slow: 80.0}, until={slow: 2}), count={slow: 40})
    assert unfinished(found) == ()
    dropped = next(e for e in found.estimates if e.contender == slow)
    assert (dropped.dropped, dropped.blocks, dropped.complete) == (2, 2, False)


def test_of_settings_not_apart_the_fewer_threads_and_the_preferred_runtime_count() -> None:
    """The same file as fast under two runtimes and two numbers of threads runs under the preferred one with one thread; a faster one is taken."""
    even = {FLOAT: 10.0, INT8: 4.0, contender("int8", OLD): 4.0, contender("int8", NEW, 4): 4.0}
    assert verdict(host_log(even)).settings == (("a", INT8.setting),)
    four = contender("int8", NEW, 4)
    assert verdict(host_log({**even, four: 2.0})).settings == (("a", four.setting),)


CLASSES = (
    DeviceClass(name="old boards", hosts=("a", "c"), measured=("a",)),
    DeviceClass(name="new boards", hosts=("b",), measured=("b",)),
)


def test_one_winner_for_all_has_the_least_mean_and_its_regret() -> None:
    """int8 is far better on one class and a little worse on the other: it wins for all, and the regret of the other is printed."""
    logs = (host_log(MS), host_log({FLOAT: 10.0, FLOAT16: 10.0, INT8: 13.0}, host="b", seed=2))
    found = verdict(*logs, classes=CLASSES)
    assert found.winner is not None
    assert found.winner.scheme == "int8"
    assert [(r.device_class, r.best) for r in found.regrets] == [
        ("old boards", "int8"),
        ("new boards", "float16"),
    ]
    assert found.regrets[0].regret == 0.0
    assert found.regrets[1].regret == pytest.approx(0.08, abs=0.03)
    assert dict(found.settings) == {"a": INT8.setting, "c": INT8.setting, "b": INT8.setting}


def test_two_devices_of_a_class_that_disagree_are_named() -> None:
    """One class, two boards, two winners: a warning names both."""
    logs = (host_log(MS), host_log({FLOAT: 10.0, FLOAT16: 10.0, INT8: 19.0}, host="b", seed=2))
    assert any(
        "a and b, both board, disagree: best is int8" in warning for warning in verdict(*logs).warnings
    )
    assert verdict(host_log(MS), host_log(MS, host="b", seed=3)).warnings == ()


def test_a_scheme_must_run_on_every_class() -> None:
    """What could not be loaded on one class is no winner, and its row says where and why."""
    failure = Failure(scheme="int8", kind=FailureKind.LOAD, reason="CONV_2D version 8 is unknown", host="b")
    logs = (host_log(MS), host_log({FLOAT: 10.0, FLOAT16: 9.0}, host="b", seed=2))
    found = verdict(*logs, classes=CLASSES, failures=(failure,))
    row = row_of(found, "int8")
    assert (row.status, row.reason, row.total) == (Status.FAILED, "CONV_2D version 8 is unknown (on b)", None)
    assert found.winner is not None
    assert found.winner.scheme == "float16"


def test_without_a_baseline_there_is_no_l() -> None:
    """A host without float32 gives its candidates no L, and no winner."""
    found = verdict(host_log({INT8: 4.0}))
    assert found.winner is None
    assert "has no L: the float32 baseline was not measured" in row_of(found, "int8").reason


def test_a_class_that_was_not_measured_is_a_reason_to_distrust() -> None:
    """A class of the scope without any measured host has no verdict."""
    found = verdict(host_log(MS), classes=CLASSES)
    assert (found.answer, found.cause) == (Answer.UNRELIABLE, "new boards: no host of it was measured")


def test_flips_say_at_which_weight_a_rival_takes_over() -> None:
    """float16 loses on size and gains on accuracy: at the reported weight of accuracy both have the same L."""
    found = verdict(host_log({FLOAT: 10.0, FLOAT16: 10.0, INT8: 10.0}), wrong={INT8: 40})
    assert found.winner is not None
    assert found.winner.scheme == "int8"
    assert found.stability is not None
    flip = next(f for f in found.stability.flips if f.term == "accuracy")
    terms = {row.scheme: {t.name: t.delta for t in row.estimates[0].terms} for row in found.rows}
    weights = {"size": 1.0, "latency": 1.0, "accuracy": flip.weight, "transfer": 1.0}
    totals = {name: sum(weights[t] * d for t, d in deltas.items()) for name, deltas in terms.items()}
    assert flip.rival == "float16"
    assert totals["int8"] == pytest.approx(totals["float16"], abs=1e-6)
    assert 0.0 < found.stability.weights < 1.0


def test_log_ratio_decides_by_ratios() -> None:
    """L of a file of half the size and the same speed and answers is ln 0.5 under log_ratio."""
    objective = Objective(formula=Formula.LOG_RATIO, weights=Weights(accuracy=2.0, transfer=0.5))
    found = verdict(host_log({FLOAT: 10.0, FLOAT16: 10.0}), objective=objective)
    total = row_of(found, "float16").total
    assert total is not None
    assert total.value == pytest.approx(-0.693, abs=0.03)
    assert total.low < -0.693 < total.high


def test_why_it_is_slow_names_operators_and_the_other_runtime() -> None:
    """Slower than float32 with most operators outside the delegate: the sentence counts them and names the runtime that takes them all."""
    slow = contender("int8", OLD)
    nodes = ("CONV_2D",) * 14 + ("DEPTHWISE_CONV_2D",) * 13 + ("MEAN", "SOFTMAX")
    seen = [
        Examination(contender=slow, peak_memory_bytes=9, pss_bytes=8, nodes=nodes, delegated=(27, 28), partitions=1),
        Examination(contender=INT8, peak_memory_bytes=7, pss_bytes=6, nodes=nodes, delegated=tuple(range(29)), partitions=1),
    ]  # fmt: skip
    found = verdict(host_log({**MS, slow: 70.0}, examinations=seen))
    estimate = next(e for e in found.estimates if e.contender == slow)
    assert estimate.why_slow == (
        "int8 is slower than float32 here: 27 of 29 operators run outside the delegate under tflite-runtime 2.14.0 "
        "(CONV_2D x14, DEPTHWISE_CONV_2D x13); ai-edge-litert 2.3.0 takes them all"
    )
    assert (estimate.delegated, estimate.operators, estimate.memory_bytes) == (2, 29, 9)
    assert next(e for e in found.estimates if e.contender == INT8).why_slow == ""


def test_the_same_log_gives_the_same_bits_in_any_order() -> None:
    """Blocks, turns and scores in reverse order give an equal verdict, to the last digit."""
    log = host_log(MS)
    turned = replace(log, blocks=tuple(replace(block, turns=block.turns[::-1]) for block in log.blocks[::-1]))
    assert verdict(log) == verdict(turned)


def test_the_terms_add_up_to_l() -> None:
    """L of every estimate is the sum of weight times delta of its terms, inside its interval."""
    for estimate in verdict(host_log(MS), wrong={INT8: 9}).estimates:
        total = sum(term.weight * term.delta for term in estimate.terms)
        assert estimate.total.value == pytest.approx(total, abs=1e-9)
        assert estimate.total.low <= estimate.total.value <= estimate.total.high
