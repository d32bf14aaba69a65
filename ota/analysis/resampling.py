"""The resamples that intervals, dominance and stability rest on: of blocks and of evaluation samples, common to all contenders.

Every contender sees the same resample, so differences between contenders stay paired. The streams are numpy's RandomState, which is frozen.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ota.analysis.distributions import Floats, normal_quantile, rounded, t_quantile
from ota.core.verdict import Estimate

RESAMPLES = 1000
GROUPS = 2000
"""Evaluation samples beyond this many are resampled in groups: sample s with s mod GROUPS."""


@lru_cache(maxsize=8)
def block_weights(blocks: int, resamples: int, seed: int) -> Floats:
    """Return weights [resamples, blocks], each row summing to 1: Dirichlet(1, ..., 1), the Bayesian bootstrap (Rubin 1981, Annals of Statistics 9).

    No block ever weighs 0, so a contender that was in two blocks has a mean in every resample.
    """
    weights: Floats = np.random.RandomState(seed).dirichlet(np.ones(blocks), size=resamples)
    return weights


@lru_cache(maxsize=4)
def sample_weights(groups: int, resamples: int, seed: int) -> Floats:
    """Return how often each of `groups` was drawn [resamples, groups]: the classical bootstrap with replacement."""
    drawn = np.random.RandomState(seed).randint(0, groups, (resamples, groups))
    drawn += np.arange(resamples)[:, None] * groups
    counts = np.bincount(drawn.ravel(), minlength=resamples * groups)
    return counts.reshape(resamples, groups).astype(np.float64)


def resampled_means(values: Floats, seed: int, resamples: int) -> tuple[Floats, Floats]:
    """Return means [columns] and resampled means [resamples, columns] over the blocks of `values` [blocks, columns], NaN where absent.

    The deviations are widened so that the 95 % interval of the resamples is that of Student's t with the column's own number n of blocks:
    by sqrt((n + 1)/(n - 1)), since Dirichlet weights give a variance of s^2 (n - 1)/(n (n + 1)), and by t / z. This is the small-sample expansion of
    Hesterberg (2015, The American Statistician 69) put on the scale instead of on the quantile, which at five blocks would lie beyond all resamples.
    A column with one block borrows the spread of the others.
    """
    present = ~np.isnan(values)
    count = present.sum(axis=0)
    filled = np.where(present, values, 0.0)
    means = filled.sum(axis=0) / np.maximum(count, 1)
    weights = block_weights(len(values), resamples, seed)
    centred = np.where(present, values - means, 0.0)
    deviations = (weights @ centred) / np.maximum(weights @ present, np.finfo(float).tiny)
    n = np.maximum(count, 2)
    widened = np.sqrt((n + 1) / (n - 1)) * t_quantile(0.975, n - 1) / normal_quantile(0.975)
    deviations *= widened
    alone = np.flatnonzero(count == 1)
    if len(alone):
        spread = _pooled_spread(centred, count)
        noise = np.random.RandomState(seed + 1).standard_normal((resamples, len(alone)))
        deviations[:, alone] = spread * noise
    return means, means + deviations


_UNKNOWN_SPREAD = 0.1
"""The standard deviation of a log ratio where no contender was measured twice."""


def _pooled_spread(centred: Floats, count: Floats) -> float:
    degrees = float(np.sum(np.maximum(count - 1, 0)))
    if degrees == 0 or len(centred) < 2:
        return _UNKNOWN_SPREAD
    return float(np.sqrt(np.sum(centred**2) / degrees))


def interval(value: float, resampled: Floats, *, level: float = 0.95) -> Estimate:
    """Return `value` with the central `level` of its resamples."""
    low, high = np.quantile(resampled, ((1 - level) / 2, (1 + level) / 2))
    return Estimate(
        value=rounded(value), low=rounded(min(float(low), value)), high=rounded(max(float(high), value))
    )
