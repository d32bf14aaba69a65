"""A selection turned into the document of `ota select --json`, and in short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from ota.core.measurement import Candidate
from ota.core.objective import Objective, Term
from ota.core.release import Digest
from ota.core.samples import Block, HostLog, Origin, SampleLog, Turn
from ota.core.selection import Selection
from ota.core.verdict import ContenderEstimate, Row, Verdict
from ota.core.vouched import Vouched
from ota.errors import OtaError
from ota.report.document_types import ChoiceDocument
from ota.report.documents import state_of
from ota.report.select_types import (
    BlockDocument,
    CandidateDocument,
    EstimateDocument,
    FailureDocument,
    File,
    HostErrorDocument,
    ObjectiveDocument,
    RawHostDocument,
    SelectionDocument,
    TermDocument,
    TransferDocument,
    TurnDocument,
    VouchedDocument,
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


def select_part(
    selection: Selection,
    log: SampleLog,
    errors: Sequence[tuple[str, OtaError]] = (),
    vouched: Vouched | None = None,
) -> list[SelectionDocument]:
    """Return one entry for each scope of a selection; `errors` are of hosts that contributed nothing, `vouched` is what its signatures are worth."""
    raw = {host.host: _raw(host) for host in log.hosts}
    return [_scope(selection, verdict, errors, raw, log.origins, vouched) for verdict in selection.verdicts]


def _scope(
    selection: Selection,
    verdict: Verdict,
    errors: Sequence[tuple[str, OtaError]],
    raw: dict[str, RawHostDocument],
    origins: Sequence[Origin],
    vouched: Vouched | None,
) -> SelectionDocument:
    inputs = selection.inputs
    return SelectionDocument(
        id=selection.id,
        created=selection.created,
        play=selection.play,
        model=selection.model,
        scope=verdict.scope,
        answer=verdict.answer.value,
        winner=None if verdict.winner is None else _file(verdict.winner),
        settings=dict(verdict.settings),
        tied=list(verdict.tied),
        cause=verdict.cause,
        warnings=list(verdict.warnings),
        stability=verdict.stability,
        regrets=list(verdict.regrets),
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
        classes=list(verdict.classes),
        errors=[
            HostErrorDocument(host=host, state=state_of(error), reason=error.reason) for host, error in errors
        ],
        candidates=[_candidate(row) for row in verdict.rows],
        estimates=[_estimate(one) for one in verdict.estimates],
        changes={scheme: list(sentences) for scheme, sentences in selection.changes},
        origins=list(origins),
        log=str(selection.log),
        vouched=None
        if vouched is None
        else VouchedDocument(worth=vouched.worth.value, keys=list(vouched.keys)),
        raw=[raw[host] for host in verdict.hosts if host in raw],
    )


def _file(candidate: Candidate) -> File:
    return File(scheme=candidate.scheme, digest=str(candidate.digest), size_bytes=candidate.size_bytes)


def _objective(objective: Objective, metric: str) -> ObjectiveDocument:
    return ObjectiveDocument(
        formula=objective.formula.value,
        weights=asdict(objective.weights),
        limits=asdict(objective.limits),
        metric=metric,
    )


def _candidate(row: Row) -> CandidateDocument:
    return CandidateDocument(
        scheme=row.scheme,
        digest=None if row.candidate is None else str(row.candidate.digest),
        size_bytes=None if row.candidate is None else row.candidate.size_bytes,
        status=row.status.value,
        reason=row.reason,
        L=row.total,
        settings=dict(row.settings),
        dominated_by=row.dominated_by,
        failures=[
            FailureDocument(
                host=failure.host, runtime=failure.runtime, kind=failure.kind.value, reason=failure.reason
            )
            for failure in row.failures
        ],
    )


def _estimate(one: ContenderEstimate) -> EstimateDocument:
    contender = one.contender
    return EstimateDocument(
        host=one.host,
        scheme=contender.scheme,
        digest=str(contender.digest),
        runtime=contender.setting.runtime,
        threads=contender.setting.threads,
        blocks=one.blocks,
        inferences=one.inferences,
        latency_ms=one.latency_ms,
        ratio=one.ratio,
        load_ms=one.load_ms,
        cold_ms=one.cold_ms,
        p90_ms=one.p90_ms,
        p99_ms=one.p99_ms,
        memory_bytes=one.memory_bytes,
        transfer_s=one.transfer_s,
        quality=one.quality,
        terms=[_term(term) for term in one.terms],
        L=one.total,
        complete=one.complete,
        dropped=one.dropped,
        delegated=one.delegated,
        operators=one.operators,
        why_slow=one.why_slow,
    )


def _term(term: Term) -> TermDocument:
    return TermDocument(**asdict(term))


def _raw(host: HostLog) -> RawHostDocument:
    return RawHostDocument(
        host=host.host,
        facts=host.facts,
        runtimes=list(host.runtimes),
        unreliable=host.unreliable,
        examined_s=sum(one.spent_ns for one in host.examinations) / 1e9,
        blocks=[_block(block) for block in host.blocks],
        transfers=[
            TransferDocument(digest=str(one.digest), bytes=one.bytes, seconds=one.seconds)
            for one in host.transfers
        ],
    )


def _block(block: Block) -> BlockDocument:
    return BlockDocument(
        number=block.number,
        at=block.at,
        void=block.void,
        watch=block.watch,
        turns=[_turn(turn) for turn in block.turns],
    )


def _turn(turn: Turn) -> TurnDocument:
    return TurnDocument(
        scheme=turn.contender.scheme,
        runtime=turn.contender.setting.runtime,
        threads=turn.contender.setting.threads,
        load_ns=turn.load_ns,
        cold_ns=turn.cold_ns,
        warmup=turn.warmup,
        first=turn.first,
        latencies_ns=list(turn.latencies_ns),
        failure=turn.failure,
    )


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)
