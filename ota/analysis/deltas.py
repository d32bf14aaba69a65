"""The formulas of L on arrays: what `ota.core.terms` says for one candidate, for many at once, with the slopes that variances need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ota.analysis.distributions import Floats
from ota.core.metric import Metric
from ota.core.objective import Formula
from ota.core.terms import LEAST


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityDelta:
    """The accuracy's delta and its derivatives by the contender's mean value and by the baseline's."""

    delta: Floats
    slope: Floats
    baseline_slope: Floats


def change(values: Any, baseline: Any, formula: Formula) -> Any:
    """Return delta of figures where less is better."""
    if formula is Formula.LOG_RATIO:
        return np.log(np.maximum(values, LEAST)) - np.log(np.maximum(baseline, LEAST))
    return (values - baseline) / np.where(baseline == 0, 1.0, np.abs(baseline))


def latency_delta(log_ratio: Any, formula: Formula) -> Any:
    """Return delta of the latency from the log of its ratio to the baseline's."""
    return log_ratio if formula is Formula.LOG_RATIO else np.expm1(log_ratio)


def latency_slope(log_ratio: Any, formula: Formula) -> Any:
    """Return the derivative of `latency_delta`."""
    return np.ones_like(log_ratio) if formula is Formula.LOG_RATIO else np.exp(log_ratio)


def quality_delta(
    means: Floats, baseline: Floats, samples: Any, formula: Formula, metric: Metric
) -> QualityDelta:
    """Return the accuracy's delta from mean values (shares of right answers, or errors) over `samples` samples, arrays of one shape."""
    if formula is Formula.LOG_RATIO:
        return _log_quality(means, baseline, samples, metric)
    scale = np.where(baseline == 0, 1.0, np.abs(baseline))
    delta = (means - baseline) / scale
    slope = 1.0 / scale
    baseline_slope = np.where(baseline == 0, -1.0, -means / scale**2)
    sign = -1.0 if metric.higher_is_better and formula is not Formula.PUBLISHED else 1.0
    return QualityDelta(delta=sign * delta, slope=sign * slope, baseline_slope=sign * baseline_slope)


def _log_quality(means: Floats, baseline: Floats, samples: Any, metric: Metric) -> QualityDelta:
    if metric.higher_is_better:
        correction = 0.5 / np.maximum(samples, 1)
        ours, theirs, sign = 1.0 - means + correction, 1.0 - baseline + correction, -1.0
    else:
        ours, theirs, sign = means, baseline, 1.0
    ours, theirs = np.maximum(ours, LEAST), np.maximum(theirs, LEAST)
    return QualityDelta(delta=np.log(ours) - np.log(theirs), slope=sign / ours, baseline_slope=-sign / theirs)
