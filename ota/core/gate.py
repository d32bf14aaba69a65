"""The gate of a rollout: what the release's model must keep against the model that it replaces, measured on the device itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

LEVEL = 0.05
"""How often, at most, a model that breaks a bound passes, and how often one that keeps it is said to break it."""
_Z = 1.6448536269514722
"""The standard normal quantile of 1 - LEVEL."""
CONTINUITY = 0.5
"""Half a sample makes the test of a loss conservative: see `ota.analysis.accuracy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """The bounds, None where one is not asked for, and where and for how long they are measured.

    `accuracy_drop` is the largest loss of the metric: a share of the samples, or of the live model's mean error for an error metric; `latency_increase` the largest
    increase of the 95th percentile of the latency, as a share of the live model's. `every_host`: not the first batch alone. Measuring ends
    after `budget_s` seconds on a host, or as soon as it is complete.
    """

    accuracy_drop: float | None = None
    latency_increase: float | None = None
    every_host: bool = False
    budget_s: float = 60.0


def least_samples(accuracy_drop: float) -> int:
    """Return how many samples it takes to show that a loss keeps the bound where not one is answered otherwise.

    Solves Tango's score test (1998, Statistics in Medicine 17) with no discordant pair, n d - 1/2 >= z sqrt(n d (1 - d)), for n.
    """
    spread = _Z * math.sqrt(accuracy_drop * (1 - accuracy_drop))
    root = (spread + math.sqrt(spread**2 + 4 * accuracy_drop * CONTINUITY)) / (2 * accuracy_drop)
    return math.ceil(root**2)
