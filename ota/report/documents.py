"""The documents that `--json` prints: typed, so that their JSON Schemas in docs/schemas/ are generated from what stands here.

Invariant: every term of L can be recomputed from the raw measurements in the same document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from ota.core.facts import Facts, Runtime
from ota.core.host_state import HostOutcome
from ota.core.host_status import HostStatus, drift
from ota.core.measurement import Measurement
from ota.core.objective import Objective, Row, Score, Verdict
from ota.core.release import Digest
from ota.core.selection import Selection
from ota.errors import OtaError, UnreachableError

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A candidate's file."""

    scheme: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TermDocument:
    """One summand of L on one host: delta = (value - baseline) / baseline, turned round for a metric where higher is better."""

    name: str
    value: float
    baseline: float
    delta: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDocument:
    """One candidate on one host, raw; `L` and `terms` are null and empty where there is no baseline."""

    host: str
    L: float | None
    terms: list[TermDocument]
    metrics: dict[str, float]
    latency_ms: float
    latencies_ns: list[int]
    blocks: list[int]
    load_ns: int
    peak_memory_bytes: int
    transfer_s: float
    transfer_bytes: int
    runtime: str
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureDocument:
    """Why a host, or the controller (null), has no measurement of a candidate."""

    host: str | None
    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateDocument:
    """A scheme's row: `status` is feasible, rejected or failed; `L` and `terms` are means over the measured hosts."""

    scheme: str
    digest: str | None
    size_bytes: int | None
    status: str
    reason: str
    L: float | None
    terms: dict[str, float]
    hosts: list[MeasuredDocument]
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
class SelectionDocument:
    """The choice for one scope of one play: `all`, or an inventory group."""

    id: str
    created: str
    play: str
    model: str
    scope: str
    winner: File | None
    objective: ObjectiveDocument
    inputs: dict[str, str | int | None]
    versions: dict[str, str]
    hosts: list[str]
    errors: list[HostErrorDocument]
    candidates: list[CandidateDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectDocument:
    """`ota select --json`: one entry a play, or a play and group where the play asks for winners per group."""

    format: int
    selections: list[SelectionDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeDocument:
    """How a host ended; `digest` was read back from the device."""

    host: str
    state: str
    release: str | None
    previous: str | None
    changed: bool
    bytes_sent: int
    digest: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPartDocument:
    """One play's rollout: `release` is the one that all confirmed hosts have, null where they differ or there is none."""

    play: str
    kind: str
    check: bool
    selection: str | None
    release: str | None
    stop: str
    hosts: list[OutcomeDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDocument:
    """`ota deploy --json` and `ota rollback --json`."""

    format: int
    rollouts: list[RolloutPartDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDocument:
    """A release on a device."""

    id: str
    digest: str | None
    intact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatusDocument:
    """One host as it was found; `state` is ok, failed or unreachable; `digest` was read back now."""

    host: str
    state: str
    reason: str
    current: str | None
    previous: str | None
    pending: str | None
    expected: str | None
    digest: str | None
    drift: str
    runtimes: list[str]
    disk_free_bytes: int | None
    releases: list[HeldDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPartDocument:
    """One play's hosts."""

    play: str
    model: str
    hosts: list[HostStatusDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusDocument:
    """`ota status --json`."""

    format: int
    plays: list[StatusPartDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class PingHostDocument:
    """One host; `facts` is null where it did not answer."""

    host: str
    state: str
    reason: str
    facts: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PingDocument:
    """`ota ping --json`."""

    format: int
    hosts: list[PingHostDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionHostDocument:
    """One host of one play; `runtime` is what was proven there, `planned` what check mode would install."""

    play: str
    host: str
    state: str
    reason: str
    runtime: str | None
    planned: str
    changed: bool
    bytes_sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionDocument:
    """`ota provision --json`."""

    format: int
    check: bool
    hosts: list[ProvisionHostDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDocument:
    """A finished command."""

    started: str
    command: str
    summary: str
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceDocument:
    """A selection in short; `winners` by scope."""

    id: str
    created: str
    play: str
    model: str
    winners: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRolloutDocument:
    """A past rollout."""

    started: str
    kind: str
    play: str
    model: str
    selection: str | None
    hosts: list[OutcomeDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDocument:
    """`ota history --json`, newest first."""

    format: int
    runs: list[RunDocument]
    selections: list[ChoiceDocument]
    rollouts: list[PastRolloutDocument]


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


DOCUMENTS: dict[str, type] = {
    "select": SelectDocument,
    "rollout": RolloutDocument,
    "status": StatusDocument,
    "ping": PingDocument,
    "provision": ProvisionDocument,
    "history": HistoryDocument,
    "score": ScoreDocument,
}
"""By the name of its schema in docs/schemas/."""


def plain(document: object) -> dict[str, Any]:
    """Return a document as what `json.dumps` takes."""
    if not is_dataclass(document) or isinstance(document, type):
        raise TypeError("not a document")
    return asdict(document)


def state_of(error: OtaError | None) -> str:
    """Return ok, failed or unreachable."""
    if error is None:
        return "ok"
    return "unreachable" if isinstance(error, UnreachableError) else "failed"


def select_part(selection: Selection, errors: Sequence[tuple[str, OtaError]]) -> list[SelectionDocument]:
    """Return one entry for each scope of a selection; `errors` are of hosts that contributed nothing."""
    return [_scope(selection, verdict, errors) for verdict in selection.verdicts]


def _scope(
    selection: Selection, verdict: Verdict, errors: Sequence[tuple[str, OtaError]]
) -> SelectionDocument:
    inputs = selection.inputs
    winner = verdict.winner
    return SelectionDocument(
        id=selection.id,
        created=selection.created,
        play=selection.play,
        model=selection.model,
        scope=verdict.scope,
        winner=None
        if winner is None
        else File(scheme=winner.scheme, digest=str(winner.digest), size_bytes=winner.size_bytes),
        objective=_objective(selection.objective, inputs.metric),
        inputs={
            "model": str(inputs.model),
            "evaluation": str(inputs.evaluation),
            "probe": str(inputs.probe),
            "representative": _text(inputs.representative),
            "samples": inputs.samples,
        },
        versions=dict(inputs.versions),
        hosts=list(verdict.hosts),
        errors=[
            HostErrorDocument(host=host, state=state_of(error), reason=error.reason) for host, error in errors
        ],
        candidates=[_candidate(row) for row in verdict.rows],
    )


def _objective(objective: Objective, metric: str) -> ObjectiveDocument:
    return ObjectiveDocument(
        formula=objective.formula.value,
        weights=asdict(objective.weights),
        limits=asdict(objective.limits),
        metric=metric,
    )


def _candidate(row: Row) -> CandidateDocument:
    scores = {score.host: score for score in row.scores}
    sums: dict[str, float] = {}
    for score in row.scores:
        for term in score.terms:
            sums[term.name] = sums.get(term.name, 0.0) + term.delta / len(row.scores)
    return CandidateDocument(
        scheme=row.scheme,
        digest=None if row.candidate is None else str(row.candidate.digest),
        size_bytes=None if row.candidate is None else row.candidate.size_bytes,
        status=row.status.value,
        reason=row.reason,
        L=row.total,
        terms=sums,
        hosts=[_measured(measurement, scores.get(measurement.host)) for measurement in row.measurements],
        failures=[
            FailureDocument(host=failure.host, kind=failure.kind.value, reason=failure.reason)
            for failure in row.failures
        ],
    )


def _measured(measurement: Measurement, score: Score | None) -> MeasuredDocument:
    return MeasuredDocument(
        host=measurement.host,
        L=None if score is None else score.total,
        terms=[] if score is None else [TermDocument(**asdict(term)) for term in score.terms],
        metrics=dict(measurement.metrics),
        latency_ms=measurement.latency_ms,
        latencies_ns=list(measurement.latencies_ns),
        blocks=list(measurement.blocks),
        load_ns=measurement.load_ns,
        peak_memory_bytes=measurement.peak_memory_bytes,
        transfer_s=measurement.transfer_s,
        transfer_bytes=measurement.transfer_bytes,
        runtime=measurement.runtime,
        threads=measurement.threads,
    )


def outcomes(ends: Sequence[HostOutcome]) -> list[OutcomeDocument]:
    """Return how hosts ended."""
    return [
        OutcomeDocument(
            host=end.host,
            state=end.state.value,
            release=end.release,
            previous=end.previous,
            changed=end.changed,
            bytes_sent=end.bytes_sent,
            digest=_text(end.digest),
            reason=end.reason,
        )
        for end in ends
    ]


def rollout_part(
    *, play: str, kind: str, check: bool, selection: str | None, stop: str, ends: Sequence[HostOutcome]
) -> RolloutPartDocument:
    """Return one play's rollout."""
    releases = {end.release for end in ends if end.state.value in {"confirmed", "pending"}}
    return RolloutPartDocument(
        play=play,
        kind=kind,
        check=check,
        selection=selection,
        release=next(iter(releases)) if len(releases) == 1 else None,
        stop=stop,
        hosts=outcomes(ends),
    )


def status_host(status: HostStatus) -> HostStatusDocument:
    """Return one host as it was found."""
    slot = status.slot
    return HostStatusDocument(
        host=status.host,
        state=state_of(status.error),
        reason=status.error.reason if status.error else "",
        current=slot.current if slot else None,
        previous=slot.previous if slot else None,
        pending=slot.pending if slot else None,
        expected=status.expected,
        digest=_text(slot.current_digest) if slot else None,
        drift=drift(status),
        runtimes=[runtime.label for runtime in status.runtimes],
        disk_free_bytes=slot.disk_free_bytes if slot else None,
        releases=[
            HeldDocument(id=held.id, digest=_text(held.model_digest), intact=held.intact)
            for held in (slot.releases if slot else ())
        ],
    )


def ping_host(host: str, facts: Facts | None, error: OtaError | None) -> PingHostDocument:
    """Return one host's facts, or why there are none."""
    return PingHostDocument(
        host=host,
        state=state_of(error),
        reason=error.reason if error else "",
        facts=None if facts is None else asdict(facts),
    )


def provision_host(
    *,
    play: str,
    host: str,
    runtime: Runtime | None,
    planned: str,
    changed: bool,
    bytes_sent: int,
    error: OtaError | None,
) -> ProvisionHostDocument:
    """Return one host's runtime, or why it has none."""
    return ProvisionHostDocument(
        play=play,
        host=host,
        state=state_of(error),
        reason=error.reason if error else "",
        runtime=runtime.label if runtime else None,
        planned=planned,
        changed=changed,
        bytes_sent=bytes_sent,
    )


def choice(selection: Selection) -> ChoiceDocument:
    """Return a selection in short."""
    return ChoiceDocument(
        id=selection.id,
        created=selection.created,
        play=selection.play,
        model=selection.model,
        winners={v.scope: v.winner.scheme if v.winner else None for v in selection.verdicts},
    )


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)
