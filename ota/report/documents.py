"""Core values turned into the documents that `--json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from ota.core.facts import Facts, Runtime
from ota.core.host_state import HostOutcome
from ota.core.host_status import HostStatus, drift
from ota.core.measurement import Measurement
from ota.core.objective import Objective, Row, Score, Verdict
from ota.core.release import Digest
from ota.core.selection import Selection
from ota.errors import OtaError, UnreachableError
from ota.report.document_types import (
    CandidateDocument,
    ChoiceDocument,
    FailureDocument,
    File,
    HeldDocument,
    HostErrorDocument,
    HostStatusDocument,
    MeasuredDocument,
    ObjectiveDocument,
    OutcomeDocument,
    PingHostDocument,
    ProvisionHostDocument,
    RolloutPartDocument,
    SelectionDocument,
    TermDocument,
)


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
