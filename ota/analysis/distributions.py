"""Quantiles and tails of the distributions that the statistics here rest on, and rounding of what is printed.

`scipy.special` only: importing `scipy.stats` takes longer than a verdict.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]

Floats = NDArray[np.float64]

DIGITS = 12
"""Significant digits of a printed figure: the last bits of a sum differ between processors, these do not."""


def normal_quantile(probability: float) -> float:
    """Return the standard normal quantile."""
    return float(special.ndtri(probability))


def normal_tail(z: Any) -> Any:
    """Return the probability beyond `z` (a number or an array) of a standard normal variable."""
    return special.ndtr(-z)


def t_quantile(probability: Any, degrees: Any) -> Any:
    """Return the quantile of Student's t (numbers or arrays that broadcast)."""
    return special.stdtrit(degrees, probability)


def binomial_below(k: int, n: int, p: float) -> float:
    """Return P(X <= k) for X binomial with `n` trials; 0 for a negative `k`."""
    return float(special.bdtr(k, n, p)) if k >= 0 else 0.0


def rounded(value: float) -> float:
    """Return `value` to DIGITS significant digits, so that a replay on another processor prints the same bits."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else value
