"""How long a file takes to a host: one line through all timed transfers, since one timing of one transfer is luck and the line is the same for all files.

seconds = overhead + bytes * per_byte, both not negative, by Theil and Sen: the median of the slopes between all pairs, then the median of what is left
(Theil 1950; Sen 1968, JASA 63). Up to 29 % of the timings may be wild. With fewer than three distinct sizes there is no line, and a file's own timings count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ota.analysis.distributions import Floats
from ota.core.samples import TimedTransfer

SIZES_NEEDED = 3
_MOST_TIMINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """Seconds to transfer each of `sizes`: `seconds` [files] and `resampled` [resamples, files], the same line in every column of a row."""

    seconds: Floats
    resampled: Floats


@lru_cache(maxsize=32)
def transfers_of(
    transfers: tuple[TimedTransfer, ...], sizes: tuple[int, ...], *, resamples: int, seed: int
) -> Transfers | None:
    """Return the transfer times of files of `sizes` bytes; None where they are not known for each of them.

    The interval's resamples put the residuals in a new order onto the line (residual bootstrap, Efron & Tibshirani 1993, chapter 9), widened by
    sqrt(n/(n - 2)) for the two parameters that were fitted.
    """
    timed = sorted(transfers, key=lambda t: (t.bytes, t.seconds, t.digest))
    if len({t.bytes for t in timed}) < SIZES_NEEDED:
        return _as_timed(timed, sizes, resamples)
    timed = _thinned(timed)
    x = np.array([t.bytes for t in timed], dtype=np.float64)
    y = np.array([t.seconds for t in timed])
    wanted = np.array(sizes, dtype=np.float64)
    overhead, per_byte = _lines(x, y[None, :])
    fitted = overhead + x * per_byte
    rest = (y - fitted) * np.sqrt(len(y) / (len(y) - 2))
    drawn = np.random.RandomState(seed).randint(0, len(y), (resamples, len(y)))
    again, slopes = _lines(x, fitted + (rest - rest.mean())[drawn])
    return Transfers(
        seconds=(overhead + wanted * per_byte), resampled=again[:, None] + wanted[None, :] * slopes[:, None]
    )


def _lines(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return overheads and seconds per byte [resamples] of `y` [resamples, timings]; where the overhead would be negative the line goes through 0."""
    first, second = np.triu_indices(len(x), 1)
    apart = x[first] != x[second]
    first, second = first[apart], second[apart]
    slopes = np.median((y[:, second] - y[:, first]) / (x[second] - x[first]), axis=1)
    slopes = np.maximum(slopes, 0.0)
    overheads = np.median(y - slopes[:, None] * x, axis=1)
    through_zero = np.maximum(np.median(y / np.maximum(x, 1.0), axis=1), 0.0)
    below = overheads < 0
    return np.where(below, 0.0, overheads), np.where(below, through_zero, slopes)


def _as_timed(timed: Sequence[TimedTransfer], sizes: tuple[int, ...], resamples: int) -> Transfers | None:
    by_size: dict[int, list[float]] = {}
    for transfer in timed:
        by_size.setdefault(transfer.bytes, []).append(transfer.seconds)
    if not sizes or any(size not in by_size for size in sizes):
        return None
    seconds = np.array([float(np.median(by_size[size])) for size in sizes])
    return Transfers(seconds=seconds, resampled=np.repeat(seconds[None, :], resamples, axis=0))


def _thinned(timed: list[TimedTransfer]) -> list[TimedTransfer]:
    """Return at most _MOST_TIMINGS, evenly over the sizes: pairs grow with the square."""
    if len(timed) <= _MOST_TIMINGS:
        return timed
    places = np.linspace(0, len(timed) - 1, _MOST_TIMINGS).round().astype(int)
    return [timed[place] for place in places]
