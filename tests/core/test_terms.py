"""L by log ratios: its order does not depend on the baseline, errors of 0 have a logarithm, and it has a transfer term."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ota.core.metric import metric_named
from ota.core.objective import Formula, Objective, Weights
from ota.core.terms import Figures, terms_of, total_of

ACCURACY = metric_named("accuracy")
OBJECTIVE = Objective(
    formula=Formula.LOG_RATIO, weights=Weights(size=1.0, latency=1.0, accuracy=2.0, transfer=0.5)
)


def figures(size: float, ms: float, right: int, seconds: float) -> Figures:
    """Return figures over 400 samples."""
    return Figures(size_bytes=size, latency_ms=ms, quality=right / 400, transfer_s=seconds, samples=400)


POSITIVE = st.floats(0.01, 1e5)
CANDIDATE = st.builds(figures, POSITIVE, POSITIVE, st.integers(0, 400), POSITIVE)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(one=CANDIDATE, other=CANDIDATE, baseline=CANDIDATE, another=CANDIDATE)
def test_differences_do_not_depend_on_the_baseline(
    one: Figures, other: Figures, baseline: Figures, another: Figures
) -> None:
    """L of one minus L of the other is the same against any baseline."""
    gaps = [
        total_of(terms_of(one, base, OBJECTIVE, ACCURACY))
        - total_of(terms_of(other, base, OBJECTIVE, ACCURACY))
        for base in (baseline, another)
    ]
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-8)


def test_no_error_at_all_counts_as_half_a_sample() -> None:
    """400 of 400 right against 399: ln(0.5/1.5), not minus infinity."""
    terms = terms_of(figures(1, 1, 400, 1), figures(1, 1, 399, 1), OBJECTIVE, ACCURACY)
    assert next(t.delta for t in terms if t.name == "accuracy") == pytest.approx(math.log(0.5 / 1.5))


def test_half_of_everything_is_the_sum_of_the_weights_times_ln_half() -> None:
    """Size, latency and transfer halved with equal answers: 2.5 times ln 0.5; a missing time leaves its term out."""
    own, base = figures(50, 5, 390, 1), figures(100, 10, 390, 2)
    assert total_of(terms_of(own, base, OBJECTIVE, ACCURACY)) == pytest.approx(2.5 * math.log(0.5))
    untimed = Figures(size_bytes=50, latency_ms=5, quality=0.9, transfer_s=None)
    assert [t.name for t in terms_of(untimed, base, OBJECTIVE, ACCURACY)] == ["size", "latency", "accuracy"]


def test_an_error_of_zero_has_a_logarithm() -> None:
    """A regression's error of 0 against 0 is no change; against an error it is finite."""
    mse = metric_named("mse")
    none = Figures(size_bytes=1, latency_ms=1, quality=0.0, transfer_s=None, samples=9)
    some = Figures(size_bytes=1, latency_ms=1, quality=0.5, transfer_s=None, samples=9)
    assert total_of(terms_of(none, none, OBJECTIVE, mse)) == 0.0
    assert math.isfinite(total_of(terms_of(none, some, OBJECTIVE, mse)))


PUBLISHED = {
    "U0": (99.18, 23, 3200, 0.00),
    "U1": (90.26, 47, 834, 0.21),
    "U2": (99.18, 483, 999, 19.31),
    "U3": (99.08, 486, 1000, 19.44),
    "U4": (99.18, 23, 1612, -0.50),
}


def printed(row: str) -> Figures:
    """Return a row of the published table."""
    accuracy, ms, size, _ = PUBLISHED[row]
    return Figures(size_bytes=size, latency_ms=ms, quality=accuracy, transfer_s=None)


@pytest.mark.parametrize("row", PUBLISHED)
def test_the_published_formula_reproduces_the_printed_table(row: str) -> None:
    """objective: published gives L of the published table to its two decimals."""
    terms = terms_of(printed(row), printed("U0"), Objective(formula=Formula.PUBLISHED), ACCURACY)
    assert round(total_of(terms), 2) == PUBLISHED[row][3]
