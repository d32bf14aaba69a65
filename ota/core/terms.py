"""The summands of L for one candidate against the float32 baseline on the same host: the scalar form of the formula, written once.

Three formulas, each L = sum of weight * delta. RELATIVE: delta = (x - x0)/x0 for size, latency, transfer and an error, (A0 - A)/A0 for a metric
where higher is better. PUBLISHED: (A - A0)/A0 as printed, no transfer term. LOG_RATIO: delta = ln(x/x0), the accuracy as the ratio of the errors
ln((e + c)/(e0 + c)) with c = 0.5/n over n samples: a weighted geometric mean, so that ln x0 falls out of every comparison and the order of the
candidates does not depend on the baseline. Source: the published method (RELATIVE with the sign of dA mended and dX added); the correction c is that
of Haldane (1956) and Anscombe (1956) for the logarithm of a count that may be 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ota.core.metric import Metric
from ota.core.objective import Formula, Objective, Term

LEAST = 1e-12
"""What a figure counts as at least under LOG_RATIO, since 0 has no logarithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What L is made of, for one candidate on one host; `quality` is the metric's value, `transfer_s` None where nobody timed it.

    `samples` is how many evaluation samples `quality` rests on, 0 where that is not known; only LOG_RATIO looks at it.
    """

    size_bytes: float
    latency_ms: float
    quality: float
    transfer_s: float | None
    samples: int = 0


def terms_of(figures: Figures, baseline: Figures, objective: Objective, metric: Metric) -> tuple[Term, ...]:
    """Return the summands of L; the transfer term only where both were timed and the formula has one."""
    weights, formula = objective.weights, objective.formula
    terms = [
        _term("size", figures.size_bytes, baseline.size_bytes, weights.size, formula),
        _term("latency", figures.latency_ms, baseline.latency_ms, weights.latency, formula),
        Term(
            name="accuracy",
            value=figures.quality,
            baseline=baseline.quality,
            delta=quality_change(figures.quality, baseline.quality, formula, metric, samples=figures.samples),
            weight=weights.accuracy,
        ),
    ]
    if figures.transfer_s is not None and baseline.transfer_s is not None and has_transfer(formula):
        terms.append(_term("transfer", figures.transfer_s, baseline.transfer_s, weights.transfer, formula))
    return tuple(terms)


def total_of(terms: Iterable[Term]) -> float:
    """Return L: the sum of weight times delta."""
    return sum(term.weight * term.delta for term in terms)


def has_transfer(formula: Formula) -> bool:
    """Say whether the formula has a transfer term: all but the published one."""
    return formula is not Formula.PUBLISHED


def relative_change(value: float, baseline: float) -> float:
    """Return (value - baseline) / |baseline|; against a baseline of 0 the difference itself, since no ratio exists."""
    return (value - baseline) / abs(baseline) if baseline else value - baseline


def change(value: float, baseline: float, formula: Formula) -> float:
    """Return delta of a figure where less is better."""
    if formula is Formula.LOG_RATIO:
        return math.log(max(value, LEAST)) - math.log(max(baseline, LEAST))
    return relative_change(value, baseline)


def quality_change(
    value: float, baseline: float, formula: Formula, metric: Metric, *, samples: int = 0
) -> float:
    """Return delta of the metric's value, over `samples` samples; more is worse, but for PUBLISHED, which is kept as printed."""
    if formula is Formula.LOG_RATIO:
        correction = error_correction(metric, samples)
        return change(error_of(value, metric) + correction, error_of(baseline, metric) + correction, formula)
    relative = relative_change(value, baseline)
    return relative if formula is Formula.PUBLISHED or not metric.higher_is_better else -relative or 0.0


def error_of(value: float, metric: Metric) -> float:
    """Return the error that the metric's value means: 1 - value for a share of right answers, the value itself for an error."""
    return 1.0 - value if metric.higher_is_better else value


def error_correction(metric: Metric, samples: int) -> float:
    """Return c = 0.5/samples for a share of right answers; 0 for an error, which has a unit, or where `samples` is 0."""
    return 0.5 / samples if metric.higher_is_better and samples else 0.0


def _term(name: str, value: float, baseline: float, weight: float, formula: Formula) -> Term:
    return Term(
        name=name, value=value, baseline=baseline, delta=change(value, baseline, formula), weight=weight
    )
