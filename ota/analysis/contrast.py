"""Is one contender's L apart from another's? Every pair on a host at once, on the blocks and the samples that both have.

A pair that shares less than half of its blocks, as a newcomer with those measured before it, is compared through the baseline: each on its own blocks, as
if these were independent, which is the safe side.

The difference of two L is the sum of a part from blocks (latency), one from evaluation samples (accuracy) and one from the transfer line. Each part's
variance is that of its linear approximation (the delta method), paired: within a block and within a sample the two contenders move together. The test is
Student's t, part by part: the difference must exceed the root of the sum of squares of t * standard deviation, each t with its part's degrees of freedom (the
method of variance estimates recovery, Zou & Donner 2008, Statistics in Medicine 27). Unlike with Welch's single number of degrees of freedom, a part
that adds doubt never makes the test easier. Its level is what `sequential` leaves for the number of blocks.
Answers that agree on all samples seen so far do not prove equal accuracy: half a sample of disagreement is added to the variance (the mean of
a Beta(1/2, 1/2) prior of Jeffreys after no disagreement), except between settings of the same file under the same runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ota.analysis.deltas import change, latency_delta, latency_slope, quality_delta
from ota.analysis.distributions import Floats, t_quantile
from ota.analysis.evidence import Evidence, Points
from ota.analysis.sequential import nominal_levels

_NEGLIGIBLE = 1e-9
"""A difference of L that counts as none."""
_TRANSFER_DEGREES = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a difference's variance, and the degrees of freedom that it was estimated with, both [i, j]."""

    variance: Floats
    degrees: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrasts:
    """For each pair [i, j]: `difference` L_i - L_j, the independent `parts` of its variance, and `blocks`, on how many blocks it rests.

    `sample_sd` is the standard deviation from evaluation samples with `sample_degrees`: infinite where they share none.
    """

    difference: Floats
    parts: tuple[Part, ...]
    sample_sd: Floats
    sample_degrees: Floats
    blocks: NDArray[np.intp]

    def take(self, places: Sequence[int] | NDArray[np.intp]) -> Contrasts:
        """Return the contrasts between the contenders at `places`, in that order."""
        chosen = np.asarray(places, dtype=np.intp)
        at = np.ix_(chosen, chosen)
        return Contrasts(
            difference=self.difference[at],
            parts=tuple(Part(variance=p.variance[at], degrees=p.degrees[at]) for p in self.parts),
            sample_sd=self.sample_sd[at],
            sample_degrees=self.sample_degrees[at],
            blocks=self.blocks[at],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How the level of all looks together is spent: over looks from block `first` to block `last`."""

    first: int
    last: int
    level: float


def combined(contrasts: Sequence[Contrasts], weights: Sequence[float]) -> Contrasts:
    """Return the contrasts of a weighted mean of L over hosts; hosts are independent but for the samples, which they share.

    The standard deviations from samples are added, as if hosts agreed wholly: the safe side.
    """
    pairs = list(zip(contrasts, weights, strict=True))
    return Contrasts(
        difference=np.sum([w * c.difference for c, w in pairs], axis=0),
        parts=tuple(
            Part(variance=w**2 * part.variance, degrees=part.degrees) for c, w in pairs for part in c.parts
        ),
        sample_sd=np.sum([w * c.sample_sd for c, w in pairs], axis=0),
        sample_degrees=np.min([c.sample_degrees for c in contrasts], axis=0),
        blocks=np.min([c.blocks for c in contrasts], axis=0),
    )


def beaten(contrasts: Contrasts, spending: Level) -> NDArray[np.bool_]:
    """Return [i, j]: whether L of i is greater than L of j beyond doubt, at the level that is left for the blocks it rests on."""
    levels = np.array(nominal_levels(spending.first, spending.last, spending.level))
    place = np.clip(contrasts.blocks - spending.first, 0, len(levels) - 1)
    quantile = 1 - levels[place] / 2
    margin = np.square(t_quantile(quantile, contrasts.sample_degrees) * contrasts.sample_sd)
    for part in contrasts.parts:
        margin = margin + np.square(t_quantile(quantile, part.degrees)) * part.variance
    enough = contrasts.blocks >= spending.first
    doubtless: NDArray[np.bool_] = enough & (contrasts.difference > np.sqrt(margin) + _NEGLIGIBLE)
    return doubtless


def contrasts_of(evidence: Evidence, points: Points) -> Contrasts:
    """Return the contrasts between all contenders of a host."""
    latency, latency_variance, blocks = _by_blocks(evidence)
    accuracy, sample_sd, answered = _by_samples(evidence)
    fixed, transfer_variance = _by_transfer(evidence, points)
    return Contrasts(
        difference=fixed + latency + accuracy,
        parts=(
            Part(variance=latency_variance, degrees=np.maximum(blocks - 1.0, 1.0)),
            Part(variance=transfer_variance, degrees=np.full_like(fixed, _TRANSFER_DEGREES)),
        ),
        sample_sd=sample_sd,
        sample_degrees=np.maximum(answered - 1.0, 1.0),
        blocks=blocks,
    )


def _by_blocks(evidence: Evidence) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Return the difference of the weighted latency terms, its variance and the blocks that it rests on, all [i, j]."""
    weight, formula = evidence.objective.weights.latency, evidence.objective.formula
    present = evidence.latencies.present.astype(np.float64)
    held = present.sum(axis=0)
    fewer = np.minimum(held[:, None], held[None, :])
    together = present.T @ present
    paired = 2 * together >= fewer
    shared = np.maximum(together, 1.0)
    ratio = np.where(evidence.latencies.present, evidence.latencies.log_ratio, 0.0)
    centre = ratio.sum(axis=0) / np.maximum(held, 1.0)
    rest = np.where(evidence.latencies.present, ratio - centre, 0.0)
    mean = (rest.T @ present) / shared
    own = (rest**2).T @ present - shared * mean**2
    both = rest.T @ rest - shared * mean * mean.T
    log_ratio = centre[:, None] + np.where(paired, mean, 0.0)
    slope = latency_slope(log_ratio, formula)
    delta = latency_delta(log_ratio, formula)
    squares = slope**2 * own + (slope**2 * own).T - 2 * slope * slope.T * both
    joint = np.maximum(squares, 0.0) / (shared * np.maximum(together - 1, 1.0))
    alone = (np.diag(slope) ** 2 * (rest**2).sum(axis=0)) / np.maximum(held * (held - 1), 1.0)
    variance = np.where(paired, joint, alone[:, None] + alone[None, :])
    blocks = np.where(paired, together, fewer)
    return weight * (delta - delta.T), weight**2 * variance, blocks.astype(np.intp)


def _by_samples(evidence: Evidence) -> tuple[Floats, Floats, Floats]:
    """Return the difference of the weighted accuracy terms, its standard deviation (infinite without shared samples) and the shared samples."""
    weight, formula = evidence.objective.weights.accuracy, evidence.objective.formula
    scored = evidence.scored.astype(np.float64)
    count = gram(scored, scored)
    shared = np.maximum(count, 1.0)
    values = np.where(evidence.scored, evidence.values, 0.0)
    base = np.where(evidence.scored[:, :1], evidence.values[:, :1], 0.0)
    mean = gram(values, scored) / shared
    base_mean = gram(scored * base, scored) / shared
    quality = quality_delta(mean, base_mean, shared, formula, evidence.metric)
    a, b = quality.slope, -quality.slope.T
    c = quality.baseline_slope - quality.baseline_slope.T
    cross = gram(values * base, scored)
    square = gram(values**2, scored)
    second = (
        a**2 * square
        + b**2 * square.T
        + c**2 * gram(scored * base**2, scored)
        + 2 * a * b * gram(values, values)
        + 2 * a * c * cross
        + 2 * b * c * cross.T
    ) / shared - (a * mean + b * mean.T + c * base_mean) ** 2
    variance = np.maximum(second, 0.0) / np.maximum(count - 1, 1.0)
    if evidence.metric.classification:
        variance = variance + _unseen(evidence) * 0.25 * (a**2 + b**2) / shared**2
    sd = weight * np.sqrt(variance)
    unknown = (count == 0) & ~np.eye(len(count), dtype=bool) & (weight > 0)
    return weight * (quality.delta - quality.delta.T), np.where(unknown, np.inf, sd), count


_ROWS_AT_ONCE = 128
"""So few that a matrix library does not start threads for them, which on a busy machine takes longer than the work."""


def gram(a: Floats, b: Floats) -> Floats:
    """Return a^T b, summed in a fixed order over parts of the rows."""
    total = np.zeros((a.shape[1], b.shape[1]))
    for row in range(0, len(a), _ROWS_AT_ONCE):
        total += a[row : row + _ROWS_AT_ONCE].T @ b[row : row + _ROWS_AT_ONCE]
    return total


def _unseen(evidence: Evidence) -> Floats:
    """Return 1 for each pair that may yet answer differently, 0 for the same file under the same runtime."""
    same = [
        [(a.digest, a.setting.runtime) == (b.digest, b.setting.runtime) for b in evidence.contenders]
        for a in evidence.contenders
    ]
    return 1.0 - np.array(same, dtype=np.float64)


def _by_transfer(evidence: Evidence, points: Points) -> tuple[Floats, Floats]:
    """Return the difference of the terms that no block moves (size, transfer) and its variance."""
    difference = points.fixed[:, None] - points.fixed[None, :]
    if evidence.transfers is None:
        return difference, np.zeros_like(difference)
    seconds = evidence.transfers.resampled
    terms = evidence.objective.weights.transfer * change(seconds, seconds[:, :1], evidence.objective.formula)
    moved = np.cov(terms, rowvar=False).reshape(len(difference), len(difference))
    own = np.diag(moved)
    return difference, np.maximum(own[:, None] + own[None, :] - 2 * moved, 0.0)
