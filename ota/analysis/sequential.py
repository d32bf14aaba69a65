"""Looking again after every block without being fooled more often: how small p must be at each look.

A test at 5 % that is repeated after blocks 5 to 40 calls twins different in far more than 5 % of sessions. The level is spent over the looks
instead, as a function of the share of blocks done (Lan & DeMets 1983, Biometrika 70), with their spending function close to Pocock's,
a(t) = a ln(1 + (e - 1) t): a session is to end early. The boundaries come from the recursion of Armitage, McPherson & Rowe (1969, JRSS A 132) for sums
of independent normal increments, and are used as p values of a t test, which keeps the level for an unknown variance (Jennison & Turnbull,
Group Sequential Methods, 2000, chapter 3.8). A test that uses only some of the looks spends less, so the level holds whichever looks were taken.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ota.analysis.distributions import Floats, normal_tail

_STEP = 0.1
_REACH = 9.0


@lru_cache(maxsize=32)
def nominal_levels(first: int, last: int, level: float) -> tuple[float, ...]:
    """Return the two-sided p that must be undercut after block first, first + 1, ..., last, `level` in all.

    `first` is at least 1; a session that goes on after `last` keeps the last p.
    """
    bounds: list[float] = []
    points, mass = np.zeros(1), np.ones(1)
    spent, gap = 0.0, math.sqrt(first)
    for block in range(first, max(first, last) + 1):
        target = level * math.log(1 + (math.e - 1) * min(1.0, block / last))
        bound = _bound(points, mass, gap, target - spent, block)
        bounds.append(bound)
        grid = np.linspace(-bound, bound, 2 * math.ceil(bound / _STEP) + 1)
        mass = _step(grid, points, mass, gap)
        points, spent, gap = grid, target, 1.0
    return tuple(
        2 * float(normal_tail(bound / math.sqrt(block))) for block, bound in enumerate(bounds, first)
    )


def _beyond(points: Floats, mass: Floats, gap: float, bound: float) -> float:
    return float(np.sum(mass * (normal_tail((bound - points) / gap) + normal_tail((bound + points) / gap))))


def _bound(points: Floats, mass: Floats, gap: float, target: float, block: int) -> float:
    """Return the bound on the sum beyond which `target` of the paths that are still under way goes with this block."""
    low, high = 0.0, _REACH * math.sqrt(block)
    for _ in range(60):
        middle = (low + high) / 2
        if _beyond(points, mass, gap, middle) > target:
            low = middle
        else:
            high = middle
    return high


def _step(grid: Floats, points: Floats, mass: Floats, gap: float) -> Floats:
    """Return the mass at each point of `grid` (trapezoid rule) after one more block."""
    kernel = np.exp(-0.5 * ((grid[:, None] - points[None, :]) / gap) ** 2) / (gap * math.sqrt(2 * math.pi))
    step: Floats = kernel @ mass * (grid[1] - grid[0])
    step[0] /= 2
    step[-1] /= 2
    return step
