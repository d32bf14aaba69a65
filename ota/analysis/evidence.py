"""All that one host contributes, as arrays over its contenders in one order, the baseline first: what the race and the verdict both start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ota.analysis.deltas import change, latency_delta, quality_delta
from ota.analysis.distributions import Floats
from ota.analysis.latency import Latencies, latencies_of, turn_failures
from ota.analysis.transfer import Transfers, transfers_of
from ota.core.measurement import Contender
from ota.core.metric import Metric
from ota.core.objective import Objective
from ota.core.release import Digest
from ota.core.samples import HostLog, HostScores
from ota.core.terms import has_transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of every host: which objective over which metric, of files of which `sizes` in bytes, on an evaluation set of `samples`."""

    objective: Objective
    metric: Metric
    sizes: Mapping[Digest, int]
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One host's data for its `latencies.contenders`.

    `sizes` [contenders] in bytes; `values` [samples, contenders]: 1 or 0 for right or wrong, or an error, NaN where the contender did not run on the sample;
    `memory` [contenders] peak bytes, NaN where not examined; `transfers` None where the formula has no such term or the times are not known.
    `samples` is the size of the evaluation set. `failures` are contenders with a turn that failed, and why.
    """

    log: HostLog
    latencies: Latencies
    sizes: Floats
    values: Floats
    memory: Floats
    transfers: Transfers | None
    samples: int
    failures: Mapping[Contender, str]
    objective: Objective
    metric: Metric

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """The contenders in order."""
        return self.latencies.contenders

    @property
    def scored(self) -> NDArray[np.bool_]:
        """[samples, contenders]: whether both the contender and the baseline answered the sample."""
        answered = ~np.isnan(self.values)
        both: NDArray[np.bool_] = answered & answered[:, :1]
        return both


def evidence_of(
    log: HostLog,
    scores: Sequence[HostScores],
    question: Question,
    *,
    baseline: Contender,
    resamples: int,
    seed: int,
) -> Evidence:
    """Gather one host's data; contenders whose digest has no size are left out."""
    latencies = _known(latencies_of(log, baseline), question.sizes)
    contenders = latencies.contenders
    bytes_of = tuple(question.sizes[contender.digest] for contender in contenders)
    return Evidence(
        log=log,
        latencies=latencies,
        sizes=np.array(bytes_of, dtype=np.float64),
        values=_values(scores, contenders, question.samples),
        memory=_memory(log, contenders),
        transfers=transfers_of(log.transfers, bytes_of, resamples=resamples, seed=seed)
        if has_transfer(question.objective.formula)
        else None,
        samples=question.samples,
        failures=turn_failures(log),
        objective=question.objective,
        metric=question.metric,
    )


def _known(latencies: Latencies, sizes: Mapping[Digest, int]) -> Latencies:
    keep = [place for place, c in enumerate(latencies.contenders) if c.digest in sizes]
    return Latencies(
        contenders=tuple(latencies.contenders[place] for place in keep),
        numbers=latencies.numbers,
        log_ms=latencies.log_ms[:, keep],
        log_ratio=latencies.log_ratio[:, keep],
    )


def _values(scores: Sequence[HostScores], contenders: tuple[Contender, ...], samples: int) -> Floats:
    places = {contender: place for place, contender in enumerate(contenders)}
    values = np.full((samples, len(contenders)), np.nan)
    for score in scores:
        if score.contender in places:
            values[np.array(score.samples, dtype=np.intp), places[score.contender]] = score.values
    return values


def _memory(log: HostLog, contenders: tuple[Contender, ...]) -> Floats:
    peaks: dict[Contender, int] = {}
    for seen in log.examinations:
        peaks[seen.contender] = max(peaks.get(seen.contender, 0), seen.peak_memory_bytes)
    return np.array([peaks.get(contender, np.nan) for contender in contenders], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The figures of each contender without intervals, arrays [contenders].

    `log_ratio` is the mean over the contender's `blocks` blocks; `quality` and `baseline_quality` are means over the `answered` samples that the contender and the
    baseline both answered, NaN without any. `fixed` is the part of L of size and transfer, `total` is L (NaN where a part is not known).
    """

    blocks: NDArray[np.intp]
    log_ratio: Floats
    answered: NDArray[np.intp]
    quality: Floats
    baseline_quality: Floats
    fixed: Floats
    total: Floats


def points_of(evidence: Evidence) -> Points:
    """Return the figures of each contender and its L."""
    weights, formula = evidence.objective.weights, evidence.objective.formula
    ratio, scored = evidence.latencies.log_ratio, evidence.scored
    blocks, answered = (~np.isnan(ratio)).sum(axis=0), scored.sum(axis=0)
    with np.errstate(invalid="ignore"):
        log_ratio = np.where(np.isnan(ratio), 0.0, ratio).sum(axis=0) / blocks
        quality = np.where(scored, evidence.values, 0.0).sum(axis=0) / answered
        baseline = np.where(scored, evidence.values[:, :1], 0.0).sum(axis=0) / answered
    fixed = weights.size * change(evidence.sizes, evidence.sizes[0], formula)
    if evidence.transfers is not None:
        seconds = evidence.transfers.seconds
        fixed = fixed + weights.transfer * change(seconds, seconds[0], formula)
    accuracy = quality_delta(quality, baseline, answered, formula, evidence.metric).delta
    total = fixed + weights.latency * latency_delta(log_ratio, formula) + weights.accuracy * accuracy
    return Points(
        blocks=blocks,
        log_ratio=log_ratio,
        answered=answered,
        quality=quality,
        baseline_quality=baseline,
        fixed=fixed,
        total=total,
    )
