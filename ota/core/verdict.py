"""The decision and everything that it rests on: estimates with their intervals, the three-valued verdict, its stability.

Invariants: every interval is a 95 % interval; limits come before L; a winner is only named where its L is apart from that of every other feasible
candidate; what could not be decided says what would decide it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ota.core.device_class import DeviceClass
from ota.core.measurement import Candidate, Contender, Failure
from ota.core.objective import Term
from ota.core.setting import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well a contender answers on a host, paired with the baseline sample by sample.

    `metric` is the figure with its interval (Wilson for a share of right answers). Classification: `right` of `samples`, the baseline
    `baseline_right` on the same; `lost` were right only under the baseline, `gained` only under the contender; `mcnemar_p` is the exact two-sided p
    (1.0 for a regression). `drop` is the loss against the baseline (absolute for an accuracy, relative for an error), `drop_bound` and `drop_lower` its
    one-sided 95 % upper and lower bounds. `needed` is how many more samples would decide the limit, 0 where it is decided or there is none.
    """

    metric: Estimate
    samples: int
    right: int
    baseline_right: int
    lost: int
    gained: int
    mcnemar_p: float
    drop: float
    drop_bound: float
    drop_lower: float = -1.0
    needed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderEstimate:
    """One contender on one host. Times in milliseconds; `ratio` is its latency over the baseline's, from within-block log ratios.

    `p90_ms` needs 200 inferences and `p99_ms` 1,000, else they are None. `total` is L. `complete`: it ran on every evaluation sample. `dropped` is the
    block after which the race went on without it, None where it stayed. `delegated` and `operators` count the graph's operators that the fast path took,
    and all of them (None where that is not known); `why_slow` is one sentence, empty where there is nothing to explain.
    """

    host: str
    contender: Contender
    blocks: int
    inferences: int
    latency_ms: Estimate
    ratio: Estimate
    load_ms: float
    cold_ms: float
    p90_ms: Estimate | None
    p99_ms: Estimate | None
    memory_bytes: int | None
    transfer_s: Estimate
    quality: Quality
    terms: tuple[Term, ...]
    total: Estimate
    complete: bool
    dropped: int | None = None
    delegated: int | None = None
    operators: int | None = None
    why_slow: str = ""


class Status(Enum):
    """FEASIBLE: runs everywhere and keeps the limits. REJECTED: breaks one. UNDECIDED: the data cannot say. FAILED: could not be made, loaded or run."""

    FEASIBLE = "feasible"
    REJECTED = "rejected"
    UNDECIDED = "undecided"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A scheme's line in a scope's table: its file, under the best setting of each device class.

    `settings` are (class name, setting) pairs; `total` is the mean of L over the classes, None where it has none. `estimates` are those of the chosen
    settings, one per measured host. `dominated_by` names a scheme that is no worse on every axis and better on one beyond the intervals, empty
    on the Pareto front.
    """

    scheme: str
    status: Status
    reason: str
    candidate: Candidate | None
    settings: tuple[tuple[str, Setting], ...]
    total: Estimate | None
    estimates: tuple[ContenderEstimate, ...]
    failures: tuple[Failure, ...]
    dominated_by: str = ""


class Answer(Enum):
    """WINNER: one is apart from all others. TIE: a set is not apart. UNRELIABLE: the measurements cannot be trusted. NONE: nothing is feasible."""

    WINNER = "winner"
    TIE = "tie"
    UNRELIABLE = "unreliable"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """The weight of `term` from which on (rising or falling from today's) `rival` comes first."""

    term: str
    weight: float
    rival: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """In what share (0 to 1) of bootstrap resamples, and of the weight simplex, the proposed scheme stays first; and where it does not."""

    resamples: float
    weights: float
    flips: tuple[Flip, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Regret:
    """What one winner for all costs a device class: L of the winner there minus L of the best candidate there."""

    device_class: str
    best: str
    regret: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The choice for one scope (`all`, a device class or an inventory group).

    `winner` is what is proposed: the winner, or of a tie the smallest and then simplest; None otherwise. `settings` are (host name, setting) pairs of every host
    of the scope. `tied` are the schemes of a tie, the proposed one first. `cause` says in a sentence why the verdict is what it is.
    `estimates` are all contenders on all measured hosts; `warnings` are for people, such as two devices of a class that disagree.
    """

    scope: str
    hosts: tuple[str, ...]
    classes: tuple[DeviceClass, ...]
    answer: Answer
    winner: Candidate | None
    settings: tuple[tuple[str, Setting], ...]
    tied: tuple[str, ...]
    cause: str
    rows: tuple[Row, ...]
    estimates: tuple[ContenderEstimate, ...]
    stability: Stability | None
    regrets: tuple[Regret, ...]
    warnings: tuple[str, ...] = ()
