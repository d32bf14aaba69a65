"""From blocks of turns to the logarithm of each contender's latency over the baseline's, block by block, and the tails of its samples.

A turn counts as the median of its inferences, which outliers of single inferences do not move. Within a block all contenders ran under the same
conditions, so the ratio to the baseline's turn cancels heat and clock (Kalibera & Jones 2013 report effects as ratios for the same reason).

A burst that hits a whole turn is drawn in, not trusted: with log medians as block + contender + rest, fitted by medians (Tukey's median polish, 1977), a
rest beyond CLIP robust standard deviations is set to that many (Huber 1964). The scale is the upper quartile of all
rests, or of the contender's own where that is larger, widened for the medians that were fitted. Chosen by measurement with six contenders, half widths of a ratio's interval after 5 and 20 blocks in percent: plain mean 2.4 and 0.9, drawn in 2.4 and 0.9, mean
trimmed by 20 % 3.6 and 1.1; with 2 % of turns hit by factors of 1.5 to 3: 9.7 and 5.8, 3.5 and 1.2, 4.7 and 1.1. All cover.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ota.analysis.distributions import Floats, binomial_below, rounded
from ota.core.measurement import Contender
from ota.core.samples import Block, HostLog
from ota.core.scheme import BASELINE
from ota.core.verdict import Estimate

CLIP = 5.0
_QUARTER = 0.75
_NORMAL_QUARTER = 1.1503
"""The upper quartile of a standard normal variable's absolute value; a quarter of the cells may be bursts."""
_POLISHES = 3
P90_NEEDS = 200
P99_NEEDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """What the valid blocks of a host say: contenders in a fixed order, the baseline first.

    `log_ms` [blocks, contenders] are the log medians in milliseconds and `log_ratio` those minus the baseline's in the same block; both with bursts drawn in, NaN where
    the contender or the baseline was not in the block. `numbers` are the blocks' numbers.
    """

    contenders: tuple[Contender, ...]
    numbers: tuple[int, ...]
    log_ms: Floats
    log_ratio: Floats

    @property
    def present(self) -> NDArray[np.bool_]:
        """[blocks, contenders]: whether there is a ratio."""
        return ~np.isnan(self.log_ratio)


def valid_blocks(log: HostLog) -> tuple[Block, ...]:
    """Return the blocks that count, by number."""
    return tuple(sorted((block for block in log.blocks if not block.void), key=lambda block: block.number))


def turn_failures(log: HostLog) -> dict[Contender, str]:
    """Return the contenders with a turn that failed in a valid block, and why."""
    return {
        turn.contender: turn.failure for block in valid_blocks(log) for turn in block.turns if turn.failure
    }


def baseline_of(log: HostLog) -> Contender | None:
    """Return the baseline: float32 that never failed, under the first runtime in order of preference, with the fewest threads; None without one."""
    failed = turn_failures(log)
    seen = {turn.contender for block in valid_blocks(log) for turn in block.turns}
    places = {name: place for place, name in enumerate(log.runtimes)}
    fit = [contender for contender in seen if contender.scheme == BASELINE and contender not in failed]
    return min(
        fit, key=lambda c: (places.get(c.setting.runtime, len(places)), c.setting.threads, c), default=None
    )


def latencies_of(log: HostLog, baseline: Contender) -> Latencies:
    """Return the log medians and log ratios of every contender that had a turn without failure in a valid block, the baseline first."""
    blocks = valid_blocks(log)
    seen = {turn.contender for block in blocks for turn in block.turns if turn.latencies_ns}
    contenders = (baseline, *sorted(seen - {baseline}))
    places = {contender: place for place, contender in enumerate(contenders)}
    log_ms = np.full((len(blocks), len(contenders)), np.nan)
    for row, block in enumerate(blocks):
        for turn in block.turns:
            if turn.latencies_ns and not turn.failure:
                log_ms[row, places[turn.contender]] = median_ns(turn.latencies_ns)
    log_ms = without_bursts(np.log(np.maximum(log_ms, 1.0) / 1e6))
    return Latencies(
        contenders=contenders,
        numbers=tuple(block.number for block in blocks),
        log_ms=log_ms,
        log_ratio=log_ms - log_ms[:, :1],
    )


@lru_cache(maxsize=8192)
def median_ns(latencies: tuple[int, ...]) -> float:
    """Return the median of a turn's samples."""
    ordered = sorted(latencies)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[-middle - 1]) / 2


def without_bursts(log_ms: Floats) -> Floats:
    """Return `log_ms` [blocks, contenders] with the rest of each cell drawn in to CLIP robust standard deviations; NaN stays NaN."""
    cells, fitted = int(np.sum(~np.isnan(log_ms))), sum(log_ms.shape) - 1
    if cells <= fitted:
        return log_ms
    rest = log_ms.copy()
    for _ in range(_POLISHES):
        rest = rest - _medians(rest, axis=0)
        rest = rest - _medians(rest, axis=1)
    apart = np.abs(rest)
    own, everyone = _quarter(apart), _quarter(apart.reshape(-1, 1))
    reach = CLIP * math.sqrt(cells / (cells - fitted)) / _NORMAL_QUARTER * np.maximum(own, everyone)
    drawn: Floats = log_ms - rest + np.clip(rest, -reach, reach)
    return drawn


def _medians(values: Floats, *, axis: int) -> Floats:
    """Return the medians along `axis`, which is kept, of what is not NaN; 0 where there is nothing."""
    ordered = np.sort(values, axis=axis)
    count = np.sum(~np.isnan(values), axis=axis, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=axis)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[axis] - 1), axis=axis)
    medians: Floats = np.where(count > 0, (low + high) / 2, 0.0)
    return medians


def _quarter(apart: Floats) -> Floats:
    """Return the upper quartile of each column, [1, columns], of what is not NaN; 0 where there is nothing."""
    count = np.sum(~np.isnan(apart), axis=0, keepdims=True)
    place = np.maximum(np.ceil(_QUARTER * count).astype(np.intp) - 1, 0)
    quarter = np.take_along_axis(np.sort(apart, axis=0), place, axis=0)
    return np.where(count > 0, quarter, 0.0)


def percentile_ms(latencies_ns: Sequence[int], share: float, *, needs: int) -> Estimate | None:
    """Return the percentile `share` of raw samples in milliseconds with its order-statistic 95 % interval; None below `needs` samples.

    The interval's ends are the samples whose ranks a binomial count undercuts with 2.5 % and exceeds with 2.5 % (David & Nagaraja, Order
    Statistics, 2003, chapter 7.1), for samples that are independent.
    """
    count = len(latencies_ns)
    if count < needs:
        return None
    ordered = sorted(latencies_ns)
    middle = min(count - 1, int(share * count))
    low, high = middle, middle
    while low > 0 and binomial_below(low, count, share) > 0.025:
        low -= 1
    while high < count - 1 and binomial_below(high, count, share) < 0.975:
        high += 1
    return Estimate(
        value=rounded(ordered[middle] / 1e6),
        low=rounded(ordered[low] / 1e6),
        high=rounded(ordered[high] / 1e6),
    )
