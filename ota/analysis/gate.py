"""Has a release's model kept its bounds against the live one? Paired on one device, sample by sample and block by block.

Two questions with a level each. Whether a bound is broken is looked at after every block, the level spent over the looks (`sequential`), for a bad model is to leave
the device soon. Whether it is kept is asked once, at the end: so a model that breaks it passes in at most 5 % of trials, and no sample is wasted on the looks. What is
neither is open, and does not pass.

A loss of accuracy is tested as everywhere here (`accuracy`). The latency of a block is the ratio of the two turns' 95th percentiles, which ran right after one another
in shuffled order; over blocks the median of those ratios is bounded by the signed ranks of their pairwise means (Hodges & Lehmann 1963, Annals of Mathematical Statistics
34), exact for any symmetric noise, so that single bursts move little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np

from ota.analysis.accuracy import (
    MOST_SAMPLES,
    discordant,
    drop_bound,
    error_drop_bounds,
    exceeds,
    samples_needed,
)
from ota.analysis.distributions import Floats, rounded
from ota.analysis.sequential import nominal_levels
from ota.core.gate import LEVEL, GateSpec
from ota.core.metric import Metric

BLOCKS = 20
"""How many blocks a complete measurement has, and how many looks the level is spent over."""
LEAST_BLOCKS = 5
"""With fewer nothing can be said of a latency at 5 %: the probability that all ratios of four lie on one side is 1/16."""
_TAIL = 0.95


class Finding(Enum):
    """What the data say of a bound."""

    KEPT = "kept"
    BROKEN = "broken"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A bound, what was found, and that in words."""

    finding: Finding
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a device has measured so far of the release's model and of the live one.

    `values` and `live` are the metric's numbers of the same samples, `ratios` those of the 95th percentiles of latency, block by block;
    `samples` is how many there are in all.
    """

    values: tuple[float, ...]
    live: tuple[float, ...]
    ratios: tuple[float, ...]
    samples: int

    def complete(self, spec: GateSpec) -> bool:
        """Say whether all is there that the bounds are judged by: every sample's answer, and all blocks."""
        answered = spec.accuracy_drop is None or len(self.values) >= self.samples
        return answered and (spec.latency_increase is None or len(self.ratios) >= BLOCKS)


def judge(measured: Measured, spec: GateSpec, metric: Metric, *, last: bool) -> tuple[Figure, ...]:
    """Return a figure for each bound of `spec`; before the `last` look a bound is broken or open."""
    figures = []
    if spec.accuracy_drop is not None:
        one = _accuracy if metric.classification else _error
        figures.append(one(measured, spec.accuracy_drop, metric, last=last))
    if spec.latency_increase is not None:
        figures.append(_latency(measured.ratios, spec.latency_increase, last=last))
    return tuple(figures)


def tail_ns(latencies_ns: Sequence[int]) -> float:
    """Return the 95th percentile of a turn's latencies: the least that at least so many of them do not exceed."""
    return float(sorted(latencies_ns)[math.ceil(_TAIL * len(latencies_ns)) - 1])


def _accuracy(measured: Measured, limit: float, metric: Metric, *, last: bool) -> Figure:
    count = len(measured.values)
    lost, gained = discordant(np.array(measured.values), np.array(measured.live))
    level = LEVEL if count >= measured.samples else _level(math.ceil(BLOCKS * count / measured.samples), 1)
    words = (
        f"{metric.name} {_percent(float(np.mean(measured.values)) if count else 0.0)}, "
        f"{_percent(float(np.mean(measured.live)) if count else 0.0)} live, of {count} samples"
    )
    if exceeds(lost, gained, count, limit, level=level):
        return Figure(
            finding=Finding.BROKEN, words=f"{words}: a loss of more than {_percent(limit)} is certain"
        )
    bound = drop_bound(lost, gained, count, confidence=1 - LEVEL)
    words += f": lost at most {_percent(bound)} where {_percent(limit)} may be"
    if last and bound <= limit:
        return Figure(finding=Finding.KEPT, words=words)
    needed = samples_needed(lost, gained, count, limit)
    more = f"; it needs {needed} more samples to tell" if 0 < needed < MOST_SAMPLES else ""
    return Figure(finding=Finding.OPEN, words=words + more)


def _error(measured: Measured, limit: float, metric: Metric, *, last: bool) -> Figure:
    """Judge the mean error: bounds by resampling, at the last look alone."""
    count = len(measured.values)
    change, low, high = error_drop_bounds(np.array(measured.values), np.array(measured.live), seed=0)
    words = f"{metric.name} {change:+.1%} of the live model's over {count} samples, between {low:+.1%} and {high:+.1%}, where {limit:+.1%} may be"
    if not last:
        return Figure(finding=Finding.OPEN, words=words)
    if low > limit:
        return Figure(finding=Finding.BROKEN, words=words)
    return Figure(finding=Finding.KEPT if high <= limit else Finding.OPEN, words=words)


def _latency(ratios: Sequence[float], limit: float, *, last: bool) -> Figure:
    blocks = len(ratios)
    if blocks < LEAST_BLOCKS:
        return Figure(finding=Finding.OPEN, words=f"p95 latency: {blocks} blocks say nothing yet")
    means = _pairwise_means(np.log(ratios))
    least_at, most_at = _place(blocks, _level(blocks, LEAST_BLOCKS)), _place(blocks, LEVEL)
    least = 0.0 if least_at is None else math.exp(means[least_at])
    most = math.inf if most_at is None else math.exp(means[-1 - most_at])
    middle = math.exp(float(np.median(means)))
    words = f"p95 latency {middle:.3g} times the live model's over {blocks} blocks, between {least:.3g} and {most:.3g}, where {1 + limit:.3g} may be"
    if least > 1 + limit:
        return Figure(finding=Finding.BROKEN, words=words)
    return Figure(finding=Finding.KEPT if last and most <= 1 + limit else Finding.OPEN, words=words)


def _level(look: int, first: int) -> float:
    """Return the one-sided level of a look; the looks are numbered by blocks from `first` to BLOCKS."""
    levels = nominal_levels(first, BLOCKS, 2 * LEVEL)
    return levels[min(max(look, first), BLOCKS) - first] / 2


def _pairwise_means(values: Floats) -> Floats:
    """Return the means of all pairs, each value with itself too, ascending."""
    above, right = np.triu_indices(len(values))
    means: Floats = np.sort((values[above] + values[right]) / 2)
    return means


@lru_cache(maxsize=256)
def _place(blocks: int, level: float) -> int | None:
    """Return which of the pairwise means, counted from 0, bounds the median from below with confidence 1 - `level`; None where none does.

    That is the largest w with P(W <= w) <= `level`, W the sum of the ranks with a positive sign among `blocks` (Wilcoxon 1945, Biometrics Bulletin 1).
    """
    ways = np.zeros(blocks * (blocks + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, blocks + 1):
        ways[rank:] = ways[rank:] + ways[:-rank]
    below = int(np.searchsorted(np.cumsum(ways) / 2.0**blocks, level, side="right"))
    return below - 1 if below else None


def _percent(share: float) -> str:
    return f"{rounded(100 * share):.3g} %"
