"""The gate's rule: what it says of data made by hand, and how often it errs on data drawn at the bound itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ota.analysis.accuracy import drop_bound
from ota.analysis.gate import BLOCKS, LEAST_BLOCKS, Figure, Finding, Measured, judge, tail_ns
from ota.core.gate import LEVEL, GateSpec, least_samples
from ota.core.metric import metric_named

ACCURACY, ERROR = metric_named("accuracy"), metric_named("mae")
TRIALS = 500
AT_MOST = LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / TRIALS)
"""Three standard errors above the level: a rule that keeps it goes beyond in one run of a thousand."""


def answers(right: int, lost: int, gained: int, wrong: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return (the release's, the live model's) rights and wrongs."""
    ours = [1.0] * right + [0.0] * lost + [1.0] * gained + [0.0] * wrong
    live = [1.0] * right + [1.0] * lost + [0.0] * gained + [0.0] * wrong
    return np.array(ours), np.array(live)


def told(
    values: np.ndarray, live: np.ndarray, limit: float, *, samples: int = 0, last: bool = True
) -> Figure:
    """Return what is said of a loss of accuracy."""
    measured = Measured(values=tuple(values), live=tuple(live), ratios=(), samples=samples or len(values))
    (figure,) = judge(measured, GateSpec(accuracy_drop=limit), ACCURACY, last=last)
    return figure


def timed(ratios: np.ndarray, limit: float, *, last: bool = True) -> Figure:
    """Return what is said of a latency."""
    measured = Measured(values=(), live=(), ratios=tuple(ratios), samples=0)
    (figure,) = judge(measured, GateSpec(latency_increase=limit), ACCURACY, last=last)
    return figure


@pytest.mark.parametrize(
    ("lost", "gained", "finding"),
    [(0, 0, Finding.KEPT), (5, 5, Finding.KEPT), (16, 0, Finding.OPEN), (60, 2, Finding.BROKEN)],
)
def test_a_loss_of_accuracy_is_told_by_the_samples_that_differ(
    lost: int, gained: int, finding: Finding
) -> None:
    """Of 1,000 samples, with 2 % allowed: what is kept, what is broken, and what 1,000 samples cannot tell."""
    figure = told(*answers(1000 - lost - gained, lost, gained), 0.02)
    assert figure.finding is finding
    assert f"accuracy {(1000 - lost) / 10:.3g} %" in figure.words


def test_what_cannot_be_told_says_how_many_samples_would() -> None:
    """The number is that of the rates that were seen."""
    figure = told(*answers(190, 2, 0, 8), 0.02)
    assert figure.finding is Finding.OPEN
    assert figure.words.startswith("accuracy 95 %, 96 % live, of 200 samples: lost at most 3.")
    assert figure.words.endswith("more samples to tell")


@pytest.mark.parametrize("limit", [0.005, 0.01, 0.02, 0.05, 0.2])
def test_the_least_number_of_samples_is_exact(limit: float) -> None:
    """Where not one sample is answered otherwise, so many show that the bound is kept, and one less does not."""
    least = least_samples(limit)
    assert drop_bound(0, 0, least) <= limit < drop_bound(0, 0, least - 1)


def test_nothing_is_kept_before_the_last_look() -> None:
    """A look on the way can only find that a bound is broken."""
    assert told(*answers(2000, 0, 0), 0.02, samples=4000, last=False).finding is Finding.OPEN
    assert timed(np.ones(BLOCKS), 0.1, last=False).finding is Finding.OPEN
    assert timed(np.full(BLOCKS, 2.0), 0.1, last=False).finding is Finding.BROKEN


@pytest.mark.parametrize(
    ("ratio", "finding"), [(1.0, Finding.KEPT), (1.19, Finding.KEPT), (1.21, Finding.BROKEN)]
)
def test_a_latency_without_noise_is_told_exactly(ratio: float, finding: Finding) -> None:
    """Of equal ratios the bound is the ratio itself."""
    figure = timed(np.full(BLOCKS, ratio), 0.2)
    assert figure.finding is finding
    assert f"{ratio:.3g} times the live model's over 20 blocks" in figure.words


def test_too_few_blocks_say_nothing() -> None:
    """Four blocks are no evidence, five of one kind are."""
    assert timed(np.ones(LEAST_BLOCKS - 1), 0.2).finding is Finding.OPEN
    assert timed(np.ones(LEAST_BLOCKS), 0.2).finding is Finding.KEPT


def test_single_bursts_do_not_move_a_latency() -> None:
    """Three turns of twenty that were hit by something leave the bound where it was, whichever model they hit."""
    ratios = np.ones(BLOCKS)
    ratios[[2, 9]], ratios[15] = 8.0, 0.1
    assert timed(ratios, 0.2).finding is Finding.KEPT


def test_a_mean_error_is_compared_with_the_live_models() -> None:
    """An error metric's bound is relative: 3 % more is within 10 %, 30 % more is not, and two samples tell nothing."""
    live = np.random.RandomState(0).uniform(0.5, 1.5, 500)
    for factor, finding in ((1.03, Finding.KEPT), (1.3, Finding.BROKEN)):
        measured = Measured(values=tuple(live * factor), live=tuple(live), ratios=(), samples=500)
        (figure,) = judge(measured, GateSpec(accuracy_drop=0.1), ERROR, last=True)
        assert figure.finding is finding
    few = Measured(values=tuple(live[:1]), live=tuple(live[:1]), ratios=(), samples=1)
    (figure,) = judge(few, GateSpec(accuracy_drop=0.1), ERROR, last=True)
    assert figure.finding is Finding.OPEN


def test_a_tail_is_a_latency_that_was_seen() -> None:
    """The 95th percentile of twenty is the nineteenth, of three the greatest."""
    assert tail_ns(list(range(1, 21))) == 19.0
    assert tail_ns([5, 9, 7]) == 9.0


def test_a_model_at_the_bound_of_accuracy_passes_and_fails_within_the_level() -> None:
    """Networks whose true loss is the bound: passed in 5 % of trials at most, and said to break it, over all looks, in 5 % at most."""
    chance, limit, samples = np.random.RandomState(4), 0.03, 800
    passed = broken = 0
    for _ in range(TRIALS):
        draw = chance.uniform(size=samples)
        lost, gained = draw < limit + 0.02, draw > 0.98
        values, live = (~lost).astype(float), (~gained).astype(float)
        looks = [samples * look // BLOCKS for look in range(1, BLOCKS + 1)]
        broken += any(
            told(values[:end], live[:end], limit, samples=samples, last=False).finding is Finding.BROKEN
            for end in looks[:-1]
        )
        passed += told(values, live, limit).finding is Finding.KEPT
    assert passed / TRIALS <= AT_MOST
    assert broken / TRIALS <= AT_MOST


def noisy(chance: np.random.RandomState, ratio: float) -> np.ndarray:
    """Return ratios with 8 % of noise, of which a tenth are hit by bursts of 1.3 to 3.3 times on either side."""
    logs = chance.normal(math.log(ratio), 0.08, BLOCKS)
    hit = chance.uniform(size=BLOCKS) < 0.1
    bursts = chance.choice([-1.0, 1.0], BLOCKS) * chance.uniform(0.3, 1.2, BLOCKS)
    return np.exp(logs + hit * bursts)


def test_a_model_at_the_bound_of_latency_passes_and_fails_within_the_level() -> None:
    """As for accuracy, with noise and bursts; a model as fast as the live one passes, one half as fast again does not get far."""
    chance, limit = np.random.RandomState(5), 0.2
    passed = broken = 0
    for _ in range(TRIALS):
        ratios = noisy(chance, 1 + limit)
        broken += any(
            timed(ratios[:end], limit, last=False).finding is Finding.BROKEN
            for end in range(LEAST_BLOCKS, BLOCKS)
        )
        passed += timed(ratios, limit).finding is Finding.KEPT
    assert passed / TRIALS <= AT_MOST
    assert broken / TRIALS <= AT_MOST
    assert sum(timed(noisy(chance, 1.0), limit).finding is Finding.KEPT for _ in range(100)) >= 90
    assert sum(timed(noisy(chance, 1.5), limit).finding is Finding.BROKEN for _ in range(100)) >= 90
