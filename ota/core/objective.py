"""The objective: what makes one candidate better than another.

L = w_S dS + w_T dT + w_A dA + w_X dX against the float32 baseline measured on the same host; lower is better, limits come first.
Source: the published method (L = dS + dT + dA) with two changes: a loss of accuracy is penalised (as printed it is rewarded), and
dX, the transfer time, is a term.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Formula(Enum):
    """RELATIVE penalises a loss of accuracy; PUBLISHED adds (A - A0)/A0 as the published table does, and has no transfer term.

    LOG_RATIO sums weighted logarithms of ratios, accuracy entering as the ratio of errors: its winner does not depend on the baseline.
    """

    RELATIVE = "relative"
    LOG_RATIO = "log_ratio"
    PUBLISHED = "published"


PUBLISHED_FAULT = (
    "objective: published adds (A - A0)/A0 as printed, so a network that loses accuracy scores better; it is here to reproduce "
    "the published table, not to choose with"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights w_S, w_T, w_A, w_X of L; none is negative."""

    size: float = 1.0
    latency: float = 1.0
    accuracy: float = 1.0
    transfer: float = 1.0


def default_weights(formula: Formula) -> Weights:
    """Return the weights of an objective for which a playbook names none."""
    if formula is Formula.LOG_RATIO:
        return Weights(accuracy=2.0, transfer=0.5)
    return Weights()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a candidate must keep on every measured host, whatever its L; None: no limit.

    `accuracy_drop` is absolute for a metric where higher is better (0.02: two points), relative to the baseline's error for an error metric.
    """

    accuracy_drop: float | None = None
    latency_ms: float | None = None
    size_bytes: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """How candidates are compared."""

    formula: Formula = Formula.RELATIVE
    weights: Weights = field(default_factory=Weights)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One summand of L: the candidate's value, the baseline's, the relative change `delta` and the weight."""

    name: str
    value: float
    baseline: float
    delta: float
    weight: float
