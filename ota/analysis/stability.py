"""How much the proposal depends on luck and on the weights: its share of resamples and of the weight simplex, and where it flips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ota.analysis.distributions import Floats, rounded
from ota.core.verdict import Flip, Stability

TERMS = ("size", "latency", "accuracy", "transfer")
_DRAWS = 10_000
_EVEN = 1e-12


def stability_of(
    names: Sequence[str],
    draws: Sequence[Floats],
    deltas: Sequence[Floats],
    weights: Sequence[float],
    *,
    proposed: int,
    seed: int,
) -> Stability:
    """Return the stability of `names[proposed]` among feasible candidates.

    `draws` [resamples] of L and `deltas` [4 terms, unweighted] one per candidate. The simplex is sampled by Dirichlet(1, 1, 1, 1), which is uniform on it, over
    the terms that differ between candidates; equal L counts for the proposed.
    """
    table = np.stack(list(draws), axis=1)
    first = table[:, proposed] <= table.min(axis=1) + _EVEN
    changes = np.stack(list(deltas))
    used = [place for place in range(len(TERMS)) if changes[:, place].any()] or [0]
    simplex = np.random.RandomState(seed % 2**32).dirichlet(np.ones(len(used)), size=_DRAWS)
    scores = simplex @ changes[:, used].T
    ahead = scores[:, proposed] <= scores.min(axis=1) + _EVEN
    flips = [
        flip
        for place, term in enumerate(TERMS)
        for flip in _flips(names, changes, np.array(weights), proposed, place, term)
    ]
    return Stability(
        resamples=rounded(float(np.mean(first))), weights=rounded(float(np.mean(ahead))), flips=tuple(flips)
    )


def _flips(
    names: Sequence[str], changes: Floats, weights: Floats, proposed: int, place: int, term: str
) -> list[Flip]:
    """Return the nearest weights of one term, above and below today's, at which a rival that is behind today draws level.

    L is linear in each weight: the gap g(w) = gap(today) + (w - today) * (delta of the rival - delta of the proposed) is 0 at one w.
    """
    today = float(weights[place])
    rising: list[tuple[float, str]] = []
    falling: list[tuple[float, str]] = []
    for rival in range(len(names)):
        gap = float((changes[rival] - changes[proposed]) @ weights)
        slope = float(changes[rival, place] - changes[proposed, place])
        if rival == proposed or gap <= _EVEN or abs(slope) <= _EVEN:
            continue
        level = today - gap / slope
        if level > today:
            rising.append((level, names[rival]))
        elif level >= 0:
            falling.append((level, names[rival]))
    nearest = [*sorted(rising)[:1], *sorted(falling, reverse=True)[:1]]
    return [Flip(term=term, weight=rounded(level), rival=rival) for level, rival in nearest]
