"""The documents of `ota select --json` and `ota report --format json`, and of `ota score --json`.

Invariant: every term of L, and every interval, can be recomputed from the raw turns, answers and transfers in the same document.
"""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.conditions import Watch
from ota.core.device_class import DeviceClass
from ota.core.facts import Facts
from ota.core.samples import Origin
from ota.core.setting import Setting
from ota.core.verdict import Estimate, Quality, Regret, Stability


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A candidate's file."""

    scheme: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TermDocument:
    """One summand of L on one host: the value, the baseline's, the change `delta` by the objective's formula, and the weight."""

    name: str
    value: float
    baseline: float
    delta: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateDocument:
    """One contender (scheme, runtime, threads) on one host: see ContenderEstimate in ota/core/verdict.py for every field."""

    host: str
    scheme: str
    digest: str
    runtime: str
    threads: int
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
    terms: list[TermDocument]
    L: Estimate
    complete: bool
    dropped: int | None
    delegated: int | None
    operators: int | None
    why_slow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureDocument:
    """Why a host, or the controller (null), has no measurement of a candidate; `runtime` is empty where it does not matter."""

    host: str | None
    runtime: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateDocument:
    """A scheme's row: `status` is feasible, rejected, undecided or failed; `settings` by device class; L is the mean over the classes."""

    scheme: str
    digest: str | None
    size_bytes: int | None
    status: str
    reason: str
    L: Estimate | None
    settings: dict[str, Setting]
    dominated_by: str
    failures: list[FailureDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostErrorDocument:
    """A host that contributed nothing; `state` is failed or unreachable."""

    host: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveDocument:
    """How candidates were compared."""

    formula: str
    weights: dict[str, float]
    limits: dict[str, float | None]
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDocument:
    """One contender's turn in a block, raw: nanoseconds; the i-th latency is of evaluation sample (first + i) mod samples."""

    scheme: str
    runtime: str
    threads: int
    load_ns: int
    cold_ns: int
    warmup: int
    first: int
    latencies_ns: list[int]
    failure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDocument:
    """One block, in the order in which it ran; one with a `void` reason counts for nothing."""

    number: int
    at: str
    void: str
    watch: Watch
    turns: list[TurnDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferDocument:
    """One timed transfer."""

    digest: str
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RawHostDocument:
    """What one host measured, raw, and what it said of itself."""

    host: str
    facts: Facts
    runtimes: list[str]
    unreliable: str
    examined_s: float
    """What loading and running each candidate once, for memory and the fast path, took in all."""
    blocks: list[BlockDocument]
    transfers: list[TransferDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class VouchedDocument:
    """What the signatures of a selection's record are worth (signed, former, unsigned, changed), and by whose keys."""

    worth: str
    keys: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionDocument:
    """The choice for one scope of one play: `all`, a device class or an inventory group.

    `answer` is winner, tie, unreliable or none; `winner` is what is proposed; `settings` say per host under which runtime and with how many threads.
    `origins` say how each file was made. `log` is the digest of the sample log that `ota replay` recomputes all of this from. `vouched` says what the
    signatures of the record are worth, null where the project has no keyring.
    """

    id: str
    created: str
    play: str
    model: str
    scope: str
    answer: str
    winner: File | None
    settings: dict[str, Setting]
    tied: list[str]
    cause: str
    warnings: list[str]
    stability: Stability | None
    regrets: list[Regret]
    objective: ObjectiveDocument
    inputs: dict[str, str | int | None]
    versions: dict[str, str]
    hosts: list[str]
    classes: list[DeviceClass]
    errors: list[HostErrorDocument]
    candidates: list[CandidateDocument]
    estimates: list[EstimateDocument]
    changes: dict[str, list[str]]
    origins: list[Origin]
    log: str
    vouched: VouchedDocument | None
    raw: list[RawHostDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectDocument:
    """`ota select --json`: one entry a play, or a play and scope where the play asks for several winners."""

    format: int
    selections: list[SelectionDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredDocument:
    """One row of a person's own table."""

    scheme: str
    L: float
    terms: list[TermDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDocument:
    """`ota score --json`; `note` says what is wrong with the published formula where that was asked for."""

    format: int
    formula: str
    note: str
    rows: list[ScoredDocument]


SELECT_DOCUMENTS: dict[str, type] = {"select": SelectDocument, "score": ScoreDocument}
"""By the name of its schema in docs/schemas/."""
