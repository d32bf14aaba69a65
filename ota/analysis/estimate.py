"""Every contender of a host with its figures and their intervals, and the resamples that those come from, kept for the verdict.

Resamples: blocks (latency), evaluation samples (accuracy) and the residuals of the transfer line are drawn independently of one another, each draw
common to all contenders. L of a resample is the formula on resampled figures, so its interval holds all three kinds of doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from ota.analysis.accuracy import (
    MOST_SAMPLES,
    discordant,
    drop_bound,
    drop_lower_bound,
    error_drop_bounds,
    mcnemar_exact,
    mean_interval,
    samples_needed,
    wilson,
)
from ota.analysis.contrast import Contrasts, contrasts_of
from ota.analysis.deltas import change, latency_delta, quality_delta
from ota.analysis.distributions import Floats, rounded
from ota.analysis.evidence import Evidence, Points, Question, evidence_of, points_of
from ota.analysis.latency import P90_NEEDS, P99_NEEDS, percentile_ms, valid_blocks
from ota.analysis.resampling import GROUPS, RESAMPLES, interval, resampled_means, sample_weights
from ota.analysis.slowness import why_slow
from ota.core.measurement import Contender
from ota.core.objective import Term
from ota.core.samples import Examination, HostLog, HostScores, Turn
from ota.core.terms import Figures, terms_of
from ota.core.verdict import ContenderEstimate, Estimate, Quality

_UNTIMED = Estimate(value=0.0, low=0.0, high=0.0)
_SEED_OF_SAMPLES = 7919
"""Added to the seed for the resamples of evaluation samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEstimates:
    """One host's estimates, and what the verdict compares them by.

    Arrays over resamples and contenders [resamples, contenders]: `totals` of L, `log_ratios` of the latency, `errors`, `seconds` of transfer
    (None where there is no such term). `deltas` [contenders, terms] are unweighted, terms in the order size, latency, accuracy, transfer.
    A contender that has no L yet, since no sample of it is scored, is not among them.
    """

    host: str
    estimates: tuple[ContenderEstimate, ...]
    evidence: Evidence
    points: Points
    contrasts: Contrasts
    totals: Floats
    log_ratios: Floats
    errors: Floats
    seconds: Floats | None
    deltas: Floats

    @property
    def places(self) -> dict[Contender, int]:
        """Where each contender with an estimate stands in the arrays."""
        return {contender: place for place, contender in enumerate(self.evidence.contenders)}


def host_estimates(
    log: HostLog,
    scores: Sequence[HostScores],
    question: Question,
    *,
    baseline: Contender,
    seed: int,
    resamples: int = RESAMPLES,
) -> HostEstimates:
    """Return the estimates of every contender that had a turn in a valid block, the baseline first.

    Resamples of blocks depend on `seed` and the host's name, those of evaluation samples on `seed` alone, so that hosts share them.
    """
    own_seed = (seed + crc32(log.host.encode())) % 2**32
    evidence = evidence_of(log, scores, question, baseline=baseline, resamples=resamples, seed=own_seed)
    points = points_of(evidence)
    latencies = evidence.latencies
    _, log_ratios = resampled_means(latencies.log_ratio, own_seed, resamples)
    ms, log_ms = resampled_means(latencies.log_ms, own_seed, resamples)
    quality, base_quality = _resampled_quality(evidence, (seed + _SEED_OF_SAMPLES) % 2**32, resamples)
    totals, seconds = _totals(evidence, points, log_ratios, quality, base_quality)
    drawn = _Drawn(log_ratios=log_ratios, ms=ms, log_ms=log_ms, totals=totals, seconds=seconds)
    estimates = tuple(
        _estimate(evidence, points, drawn, place, question, seed) for place in range(len(evidence.contenders))
    )
    return HostEstimates(
        host=log.host,
        estimates=estimates,
        evidence=evidence,
        points=points,
        contrasts=contrasts_of(evidence, points),
        totals=totals,
        log_ratios=log_ratios,
        errors=1 - quality if question.metric.higher_is_better else quality,
        seconds=seconds,
        deltas=_deltas(estimates),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    log_ratios: Floats
    ms: Floats
    log_ms: Floats
    totals: Floats
    seconds: Floats | None


def _resampled_quality(evidence: Evidence, seed: int, resamples: int) -> tuple[Floats, Floats]:
    """Return resampled means [resamples, contenders] of each contender and of the baseline, over the samples that both answered."""
    scored = evidence.scored
    groups = max(1, min(GROUPS, len(scored)))
    weights = sample_weights(groups, resamples, seed)

    def summed(values: Floats) -> Floats:
        padded = np.zeros((-(-max(1, len(values)) // groups) * groups, values.shape[1]))
        padded[: len(values)] = values
        sums: Floats = weights @ padded.reshape(-1, groups, values.shape[1]).sum(axis=0)
        return sums

    count = summed(scored.astype(np.float64))
    ours = summed(np.where(scored, evidence.values, 0.0))
    base = summed(np.where(scored, evidence.values[:, :1], 0.0))
    none = count == 0
    safe = np.where(none, 1.0, count)
    points = points_of(evidence)
    return (
        np.where(none, points.quality, ours / safe),
        np.where(none, points.baseline_quality, base / safe),
    )


def _totals(
    evidence: Evidence, points: Points, log_ratios: Floats, quality: Floats, base_quality: Floats
) -> tuple[Floats, Floats | None]:
    weights, formula = evidence.objective.weights, evidence.objective.formula
    totals = weights.size * change(evidence.sizes, evidence.sizes[0], formula)[None, :]
    totals = totals + weights.latency * latency_delta(log_ratios, formula)
    accuracy = quality_delta(quality, base_quality, points.answered, formula, evidence.metric).delta
    totals = totals + weights.accuracy * accuracy
    if evidence.transfers is None:
        return totals, None
    seconds = evidence.transfers.resampled
    return totals + weights.transfer * change(seconds, seconds[:, :1], formula), seconds


def _deltas(estimates: Sequence[ContenderEstimate]) -> Floats:
    names = ("size", "latency", "accuracy", "transfer")
    found = [{term.name: term.delta for term in estimate.terms} for estimate in estimates]
    return np.array([[deltas.get(name, 0.0) for name in names] for deltas in found])


def _estimate(
    evidence: Evidence, points: Points, drawn: _Drawn, place: int, question: Question, seed: int
) -> ContenderEstimate:
    contender = evidence.contenders[place]
    turns = _turns(evidence.log, contender)
    pooled = [ns for turn in turns for ns in turn.latencies_ns]
    examined = _examined(evidence.log, contender)
    ratio = interval(float(points.log_ratio[place]), drawn.log_ratios[:, place])
    ratio = Estimate(value=_exp(ratio.value), low=_exp(ratio.low), high=_exp(ratio.high))
    latency = interval(float(drawn.ms[place]), drawn.log_ms[:, place])
    latency = Estimate(value=_exp(latency.value), low=_exp(latency.low), high=_exp(latency.high))
    total = float(points.total[place])
    unknown = math.isnan(total)
    return ContenderEstimate(
        host=evidence.log.host,
        contender=contender,
        blocks=int(points.blocks[place]),
        inferences=len(pooled),
        latency_ms=latency,
        ratio=ratio,
        load_ms=rounded(float(np.median([turn.load_ns for turn in turns])) / 1e6),
        cold_ms=rounded(float(np.median([turn.cold_ns for turn in turns])) / 1e6),
        p90_ms=percentile_ms(pooled, 0.90, needs=P90_NEEDS),
        p99_ms=percentile_ms(pooled, 0.99, needs=P99_NEEDS),
        memory_bytes=None if math.isnan(evidence.memory[place]) else int(evidence.memory[place]),
        transfer_s=_UNTIMED
        if evidence.transfers is None or drawn.seconds is None
        else interval(float(evidence.transfers.seconds[place]), drawn.seconds[:, place]),
        quality=_quality(evidence, place, seed % 2**32),
        terms=() if unknown else _terms(evidence, points, place, _exp(float(drawn.ms[0]))),
        total=_UNTIMED if unknown else interval(total, drawn.totals[:, place]),
        complete=int(points.answered[place]) >= question.samples > 0 and contender not in evidence.failures,
        dropped=_left_after(evidence, place),
        delegated=len(examined.delegated) if examined else None,
        operators=len(examined.nodes) if examined else None,
        why_slow=why_slow(evidence.log, contender, ratio),
    )


def _exp(value: float) -> float:
    return rounded(math.exp(value))


def _turns(log: HostLog, contender: Contender) -> list[Turn]:
    return [
        turn
        for block in valid_blocks(log)
        for turn in block.turns
        if turn.contender == contender and turn.latencies_ns and not turn.failure
    ]


def _examined(log: HostLog, contender: Contender) -> Examination | None:
    return next((seen for seen in reversed(log.examinations) if seen.contender == contender), None)


def _left_after(evidence: Evidence, place: int) -> int | None:
    """Return the number of the contender's last block where the host's blocks went on, else None."""
    rows = np.flatnonzero(~np.isnan(evidence.latencies.log_ms[:, place]))
    numbers = evidence.latencies.numbers
    return int(numbers[rows[-1]]) if len(rows) and rows[-1] < len(numbers) - 1 else None


def _terms(evidence: Evidence, points: Points, place: int, baseline_ms: float) -> tuple[Term, ...]:
    """Return the summands of L by the scalar formula; the latency is the ratio times the baseline's, free of drift."""
    seconds = None if evidence.transfers is None else evidence.transfers.seconds

    def figures(at: int, quality: float, ratio: float) -> Figures:
        return Figures(
            size_bytes=float(evidence.sizes[at]),
            latency_ms=baseline_ms * ratio,
            quality=quality,
            transfer_s=None if seconds is None else float(seconds[at]),
            samples=int(points.answered[place]),
        )

    own = figures(place, float(points.quality[place]), math.exp(points.log_ratio[place]))
    base = figures(0, float(points.baseline_quality[place]), 1.0)
    return tuple(
        Term(
            name=term.name,
            value=rounded(term.value),
            baseline=rounded(term.baseline),
            delta=rounded(term.delta),
            weight=term.weight,
        )
        for term in terms_of(own, base, evidence.objective, evidence.metric)
    )


def _quality(evidence: Evidence, place: int, seed: int) -> Quality:
    answered = ~np.isnan(evidence.values[:, place])
    own = evidence.values[answered, place]
    both = evidence.scored[:, place]
    values, base = evidence.values[both, place], evidence.values[both, 0]
    limit = evidence.objective.limits.accuracy_drop
    if not evidence.metric.classification:
        drop, lower, upper = error_drop_bounds(values, base, seed=seed)
        open_ = limit is not None and lower <= limit < upper
        return Quality(
            metric=mean_interval(own), samples=len(values), right=0, baseline_right=0, lost=0, gained=0,
            mcnemar_p=1.0, drop=drop, drop_bound=upper, drop_lower=lower,
            needed=_more_errors(len(values), drop, lower, upper, limit) if open_ and limit is not None else 0,
        )  # fmt: skip
    lost, gained = discordant(values, base)
    count = len(values)
    return Quality(
        metric=wilson(int(np.sum(own > 0.5)), len(own)),
        samples=count,
        right=int(np.sum(values > 0.5)),
        baseline_right=int(np.sum(base > 0.5)),
        lost=lost,
        gained=gained,
        mcnemar_p=mcnemar_exact(lost, gained),
        drop=rounded((lost - gained) / count) if count else 0.0,
        drop_bound=0.0 if place == 0 else drop_bound(lost, gained, count),
        drop_lower=0.0 if place == 0 else drop_lower_bound(lost, gained, count),
        needed=0 if limit is None or place == 0 else samples_needed(lost, gained, count, limit),
    )


def _more_errors(count: int, drop: float, lower: float, upper: float, limit: float) -> int:
    """Return how many more samples would bring the bound of a relative error to the limit: its distance falls with the square root of their number."""
    reach = upper - drop if drop <= limit else drop - lower
    if count < 2 or abs(limit - drop) * 100 < reach:
        return MOST_SAMPLES
    return max(1, math.ceil(count * (reach / abs(limit - drop)) ** 2) - count)
