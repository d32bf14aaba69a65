"""The Pareto front over size, latency, error, memory and transfer, dominance tested against the resamples, so that noise makes no front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ota.analysis.distributions import Floats

CONFIDENCE = 0.95
SAME = 0.01
"""Latency, memory and transfer within 1 % of each other count as equal: no measurement here promises more."""


def dominated_by(axes: Sequence[Floats]) -> list[int | None]:
    """Return for each candidate the first that dominates it, None on the front; `axes` [resamples, 5] each, less is better, latency as a log ratio.

    One dominates another where, in at least 95 % of the resamples, it is no worse on every axis and better on one. Size and error must not be worse at all. An axis
    that is not known of both (NaN) does not count.
    """
    found: list[int | None] = []
    for place, ours in enumerate(axes):
        rivals = (other for other, theirs in enumerate(axes) if other != place and _dominates(theirs, ours))
        found.append(next(rivals, None))
    return found


def _dominates(theirs: Floats, ours: Floats) -> bool:
    known = ~np.isnan(theirs).any(axis=0) & ~np.isnan(ours).any(axis=0)
    tolerance = np.stack(
        (
            np.zeros(len(ours)),
            np.full(len(ours), SAME),
            np.zeros(len(ours)),
            SAME * ours[:, 3],
            SAME * ours[:, 4],
        ),
        axis=1,
    )
    no_worse = (theirs <= ours + tolerance)[:, known].all(axis=1)
    better = (theirs < ours - tolerance)[:, known].any(axis=1)
    return bool(np.mean(no_worse & better) >= CONFIDENCE)
