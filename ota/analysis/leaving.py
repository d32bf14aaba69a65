"""Who leaves the race without being beaten in a test: whoever breaks a limit, or is so slow that the best it can hope for does not reach a rival."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ota.analysis.accuracy import discordant, drop_bound, error_drop_bounds, exceeds
from ota.analysis.deltas import latency_delta, quality_delta
from ota.analysis.distributions import Floats, normal_quantile, t_quantile
from ota.analysis.evidence import Evidence, Points
from ota.core.metric import Metric
from ota.core.objective import Formula

HOPELESS_AT_ONCE = 5.0
HOPELESS = 2.0
"""How many times slower than the baseline, in every block, a contender may be called hopeless after one block, and after two."""
_SLACK_AT_ONCE = 1.5
_SLACK = 1.25


def hopeless(evidence: Evidence, points: Points) -> NDArray[np.bool_]:
    """Return [i, j]: whether i is so slow that the best it can hope for is worse than the worst to be feared of j.

    A bound, not a test, so that a contender 20 times slower costs one turn. i: its fastest block, faster still by the slack, and half the baseline's
    error, which quantization does not give. j: its slowest block, slower still by the slack, and its accuracy as far as it is known.
    """
    weights, formula = evidence.objective.weights, evidence.objective.formula
    with np.errstate(invalid="ignore"):
        ratio = evidence.latencies.log_ratio
        fastest = np.where(np.isnan(ratio), np.inf, ratio).min(axis=0, initial=np.inf)
        slowest = np.where(np.isnan(ratio), -np.inf, ratio).max(axis=0, initial=-np.inf)
        slow = np.where(points.blocks > 1, fastest > np.log(HOPELESS), fastest > np.log(HOPELESS_AT_ONCE))
        slack = np.log(np.where(points.blocks > 1, _SLACK, _SLACK_AT_ONCE))
        slack[0] = 0.0
        accuracy = quality_delta(
            points.quality, points.baseline_quality, points.answered, formula, evidence.metric
        ).delta
        hope = _half_the_error(points, evidence.metric, formula)
        best = (
            points.fixed + weights.latency * latency_delta(fastest - slack, formula) + weights.accuracy * hope
        )
        worst = (
            points.fixed
            + weights.latency * latency_delta(slowest + slack, formula)
            + weights.accuracy * accuracy
        )
        without: NDArray[np.bool_] = (slow & (points.blocks > 0))[:, None] & (best[:, None] > worst[None, :])
    return without


def _half_the_error(points: Points, metric: Metric, formula: Formula) -> Floats:
    base = np.where(np.isnan(points.baseline_quality), points.baseline_quality[0], points.baseline_quality)
    half = (1 + base) / 2 if metric.higher_is_better else base / 2
    delta = quality_delta(half, base, points.answered, formula, metric).delta
    return -np.abs(delta)


def broken(evidence: Evidence, points: Points) -> list[str]:
    """Return for each contender why it can no longer win whatever its L, empty where it can: it failed, or it breaks a limit beyond doubt."""
    limits = evidence.objective.limits
    reasons = []
    for place, contender in enumerate(evidence.contenders):
        reason = evidence.failures.get(contender, "")
        if not reason and limits.size_bytes is not None and evidence.sizes[place] > limits.size_bytes:
            reason = f"size {int(evidence.sizes[place])} bytes, limit {limits.size_bytes} bytes"
        if not reason and limits.memory_bytes is not None and evidence.memory[place] > limits.memory_bytes:
            reason = f"memory {int(evidence.memory[place])} bytes, limit {limits.memory_bytes} bytes"
        reason = reason or _too_slow(evidence, place) or _too_wrong(evidence, points, place)
        reasons.append(reason)
    return reasons


_SURE = 0.001
"""The one-sided level at which one look may call a limit broken."""


def _too_slow(evidence: Evidence, place: int) -> str:
    limit = evidence.objective.limits.latency_ms
    column = evidence.latencies.log_ms[:, place]
    column = column[~np.isnan(column)]
    if limit is None or len(column) < 2:
        return ""
    error = float(np.std(column, ddof=1)) / math.sqrt(len(column))
    low = float(np.mean(column)) - error * float(t_quantile(1 - _SURE, len(column) - 1))
    return f"latency {np.exp(np.mean(column)):.4g} ms, limit {limit:.4g} ms" if low > np.log(limit) else ""


def _too_wrong(evidence: Evidence, points: Points, place: int) -> str:
    """Say so where the loss is above its limit for sure, or where it ran on every sample and still nobody can say that it keeps the limit."""
    limit, answered = evidence.objective.limits.accuracy_drop, int(points.answered[place])
    if limit is None or place == 0 or answered == 0:
        return ""
    both = evidence.scored[:, place]
    values, base = evidence.values[both, place], evidence.values[both, 0]
    if evidence.metric.higher_is_better:
        lost, gained = discordant(values, base)
        sure = exceeds(lost, gained, answered, limit, level=_SURE)
        kept = answered < evidence.samples or drop_bound(lost, gained, answered) <= limit
    else:
        sure, kept = _error_exceeds(values, base, limit, complete=answered >= evidence.samples)
    if sure:
        return f"loses more {evidence.metric.name} than {limit:.4g} on {answered} samples"
    return (
        ""
        if kept
        else f"all {answered} samples do not show that it keeps the limit on {evidence.metric.name}"
    )


def _error_exceeds(values: Floats, base: Floats, limit: float, *, complete: bool) -> tuple[bool, bool]:
    """Return whether the relative change of the error is above `limit` for sure, and whether it may yet be shown to keep it."""
    excess = values - (1 + limit) * base
    if len(excess) < 2:
        return False, True
    error = float(np.std(excess, ddof=1)) / math.sqrt(len(excess))
    sure = float(np.mean(excess)) > error * normal_quantile(1 - _SURE) and len(excess) >= 10
    kept = not complete or error_drop_bounds(values, base, seed=0)[2] <= limit
    return sure, kept
