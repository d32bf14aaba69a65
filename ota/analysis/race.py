"""The race: after each block, which contenders stay, whether measuring may stop, and why. A pure function of what was measured so far.

A contender leaves when it breaks a limit, when a rival's L is less beyond doubt (a test whose level is spent over the looks, `contrast.beaten`), or early,
after a block or two, when it is so slow that the best it can hope for does not reach a rival. Only rivals that may themselves win count.
Nothing is for ever: the state is computed anew from all blocks, so a contender comes back when the rival that beat it turns out to break a limit, and
the race goes on when the accuracy of its leader, completed later, disappoints.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ota.analysis.accuracy import discordant, drop_bound, error_drop_bounds, exceeds
from ota.analysis.contrast import Contrasts, Level, beaten, contrasts_of
from ota.analysis.deltas import latency_delta, quality_delta
from ota.analysis.distributions import Floats, normal_quantile, t_quantile
from ota.analysis.evidence import Evidence, Points, Question, evidence_of, points_of
from ota.core.metric import Metric
from ota.core.objective import Formula, Objective
from ota.core.samples import Contender, HostLog, HostScores


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceRules:
    """When to look and when to stop.

    Tests begin after `first_look` blocks; `level` is the chance, over all looks of a session, to call one of two twins the winner. At most `max_blocks`
    blocks or, on average, `seconds` of a live contender's own time; `precision` is the half width of a ratio's 95 % interval that is enough.
    """

    first_look: int = 5
    max_blocks: int = 40
    level: float = 0.04
    precision: float = 0.01
    seconds: float = 150.0

    @property
    def spending(self) -> Level:
        """The looks over which the level is spent."""
        return Level(first=self.first_look, last=self.max_blocks, level=self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A contender's L so far, None where a part of it is not known yet, its latency ratio and the blocks that it was in; its reason where it left."""

    contender: Contender
    total: float | None
    ratio: float
    blocks: int
    left: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceState:
    """Where the race is after `blocks` valid blocks: `live` contenders, the baseline always among them, the `leader`, and whether to `stop`, and `why`."""

    blocks: int
    live: tuple[Contender, ...]
    leader: Contender | None
    stop: bool
    why: str
    standings: tuple[Standing, ...]
    objective: Objective


_RESAMPLES = 200
"""Of the transfer line, the only part that a race resamples."""


def decide_next(
    log: HostLog,
    scores: Sequence[HostScores],
    question: Question,
    *,
    baseline: Contender,
    among: Collection[Contender] | None = None,
    settled: Collection[Contender] = (),
    rules: RaceRules | None = None,
    seed: int = 0,
) -> RaceState:
    """Return the state of the race on one host, between those `among` whom it is held; None: all that had a turn.

    The `settled` hold no more blocks while there are others: whether to stop is asked of the others alone. `scores` may be partial. A contender without
    a turn in a valid block is not known to the race yet.
    """
    rules = rules or RaceRules()
    evidence = evidence_of(log, scores, question, baseline=baseline, resamples=_RESAMPLES, seed=seed)
    points = points_of(evidence)
    out = [
        reason or ("" if among is None or contender in among else "its answers are none")
        for contender, reason in zip(evidence.contenders, _broken(evidence, points), strict=True)
    ]
    contrasts = contrasts_of(evidence, points)
    lost = beaten(contrasts, rules.spending) | hopeless(evidence, points)
    possible = np.array([not reason for reason in out])
    beats = lost & possible[None, :]
    total = np.where(np.isnan(points.total), np.inf, points.total)
    unbeaten = possible & ~beats.any(axis=1)
    leader = _least(total, unbeaten) if unbeaten.any() else _least(total, possible)
    for place in np.flatnonzero(possible & beats.any(axis=1)):
        if place != leader:
            out[place] = _beaten_words(evidence, points, int(place), int(_least(total, beats[place]) or 0))
    waiting = _waits_for_answers(evidence, points, contrasts, rules, [not reason for reason in out])
    contenders = evidence.contenders
    live = [place for place, reason in enumerate(out) if not reason]
    racing = [place for place in live if contenders[place] not in settled] or live
    stop, why = _stop(evidence, points, rules, live, racing, leader, waiting=waiting)
    return RaceState(
        blocks=len(evidence.latencies.numbers),
        live=tuple(c for place, c in enumerate(contenders) if place == 0 or not out[place]),
        leader=contenders[leader] if leader is not None else None,
        stop=stop,
        why=why,
        standings=tuple(_standing(evidence, points, place, out[place]) for place in range(len(contenders))),
        objective=question.objective,
    )


def worth_more_threads(state: RaceState, cpu_count: int) -> tuple[Contender, ...]:
    """Return the live single-threaded contenders that would beat the leader's L if their latency fell to 1/`cpu_count`, the leader included."""
    if cpu_count < 2 or state.leader is None:
        return ()
    best = min(
        (s.total for s in state.standings if s.contender == state.leader and s.total is not None), default=0.0
    )
    weight, formula = state.objective.weights.latency, state.objective.formula
    worth = []
    for standing in state.standings:
        if standing.left or standing.total is None or standing.contender.setting.threads != 1:
            continue
        gain = (
            float(np.log(cpu_count)) if formula is Formula.LOG_RATIO else standing.ratio * (1 - 1 / cpu_count)
        )
        if standing.total - weight * gain < best or standing.contender == state.leader:
            worth.append(standing.contender)
    return tuple(worth)


HOPELESS_AT_ONCE = 5.0
HOPELESS = 2.0
"""How many times slower than the baseline, in every block, a contender may be called hopeless after one block, and after two."""
_SLACK_AT_ONCE = 1.5
_SLACK = 1.25


def hopeless(evidence: Evidence, points: Points) -> NDArray[np.bool_]:
    """Return [i, j]: whether i is so slow that the best it can hope for is worse than the worst to be feared of j.

    A bound, not a test, so that a contender 20 times slower costs one turn. i: its fastest block, faster still by the slack, and half the baseline's
    error, which quantization does not give. j: its slowest block, slower still by the slack, and its accuracy as far as it is known.
    """
    weights, formula = evidence.objective.weights, evidence.objective.formula
    with np.errstate(invalid="ignore"):
        ratio = evidence.latencies.log_ratio
        fastest = np.where(np.isnan(ratio), np.inf, ratio).min(axis=0, initial=np.inf)
        slowest = np.where(np.isnan(ratio), -np.inf, ratio).max(axis=0, initial=-np.inf)
        slow = np.where(points.blocks > 1, fastest > np.log(HOPELESS), fastest > np.log(HOPELESS_AT_ONCE))
        slack = np.log(np.where(points.blocks > 1, _SLACK, _SLACK_AT_ONCE))
        slack[0] = 0.0
        accuracy = quality_delta(
            points.quality, points.baseline_quality, points.answered, formula, evidence.metric
        ).delta
        hope = _half_the_error(points, evidence.metric, formula)
        best = (
            points.fixed + weights.latency * latency_delta(fastest - slack, formula) + weights.accuracy * hope
        )
        worst = (
            points.fixed
            + weights.latency * latency_delta(slowest + slack, formula)
            + weights.accuracy * accuracy
        )
        without: NDArray[np.bool_] = (slow & (points.blocks > 0))[:, None] & (best[:, None] > worst[None, :])
    return without


def _half_the_error(points: Points, metric: Metric, formula: Formula) -> Floats:
    base = np.where(np.isnan(points.baseline_quality), points.baseline_quality[0], points.baseline_quality)
    half = (1 + base) / 2 if metric.higher_is_better else base / 2
    delta = quality_delta(half, base, points.answered, formula, metric).delta
    return -np.abs(delta)


def _broken(evidence: Evidence, points: Points) -> list[str]:
    """Return for each contender why it can no longer win whatever its L, empty where it can."""
    limits = evidence.objective.limits
    reasons = []
    for place, contender in enumerate(evidence.contenders):
        reason = evidence.failures.get(contender, "")
        if not reason and limits.size_bytes is not None and evidence.sizes[place] > limits.size_bytes:
            reason = f"size {int(evidence.sizes[place])} bytes, limit {limits.size_bytes} bytes"
        if not reason and limits.memory_bytes is not None and evidence.memory[place] > limits.memory_bytes:
            reason = f"memory {int(evidence.memory[place])} bytes, limit {limits.memory_bytes} bytes"
        reason = reason or _too_slow(evidence, place) or _too_wrong(evidence, points, place)
        reasons.append(reason)
    return reasons


_SURE = 0.001
"""The one-sided level at which one look may call a limit broken."""


def _too_slow(evidence: Evidence, place: int) -> str:
    limit = evidence.objective.limits.latency_ms
    column = evidence.latencies.log_ms[:, place]
    column = column[~np.isnan(column)]
    if limit is None or len(column) < 2:
        return ""
    error = float(np.std(column, ddof=1)) / math.sqrt(len(column))
    low = float(np.mean(column)) - error * float(t_quantile(1 - _SURE, len(column) - 1))
    return f"latency {np.exp(np.mean(column)):.4g} ms, limit {limit:.4g} ms" if low > np.log(limit) else ""


def _too_wrong(evidence: Evidence, points: Points, place: int) -> str:
    """Say so where the loss is above its limit for sure, or where it ran on every sample and still nobody can say that it keeps the limit."""
    limit, answered = evidence.objective.limits.accuracy_drop, int(points.answered[place])
    if limit is None or place == 0 or answered == 0:
        return ""
    both = evidence.scored[:, place]
    values, base = evidence.values[both, place], evidence.values[both, 0]
    if evidence.metric.higher_is_better:
        lost, gained = discordant(values, base)
        sure = exceeds(lost, gained, answered, limit, level=_SURE)
        kept = answered < evidence.samples or drop_bound(lost, gained, answered) <= limit
    else:
        sure, kept = _error_exceeds(values, base, limit, complete=answered >= evidence.samples)
    if sure:
        return f"loses more {evidence.metric.name} than {limit:.4g} on {answered} samples"
    return (
        ""
        if kept
        else f"all {answered} samples do not show that it keeps the limit on {evidence.metric.name}"
    )


def _error_exceeds(values: Floats, base: Floats, limit: float, *, complete: bool) -> tuple[bool, bool]:
    """Return whether the relative change of the error is above `limit` for sure, and whether it may yet be shown to keep it."""
    excess = values - (1 + limit) * base
    if len(excess) < 2:
        return False, True
    error = float(np.std(excess, ddof=1)) / math.sqrt(len(excess))
    sure = float(np.mean(excess)) > error * normal_quantile(1 - _SURE) and len(excess) >= 10
    kept = not complete or error_drop_bounds(values, base, seed=0)[2] <= limit
    return sure, kept


def _least(total: Floats, among: NDArray[np.bool_]) -> int | None:
    places = np.flatnonzero(among)
    return int(places[np.argmin(total[places])]) if len(places) else None


def _stop(
    evidence: Evidence,
    points: Points,
    rules: RaceRules,
    live: Sequence[int],
    racing: Sequence[int],
    leader: int | None,
    *,
    waiting: bool,
) -> tuple[bool, str]:
    """Say whether to stop and why: the `live`, and those of them that are `racing` and bring what is still to be learnt."""
    blocks = len(evidence.latencies.numbers)
    if blocks < rules.first_look:
        return False, f"{blocks} of at least {rules.first_look} blocks"
    widths = _half_widths(evidence, points, rules)
    widest = max((float(widths[place]) for place in racing if place), default=0.0)
    fewest = min((int(points.blocks[place]) for place in racing if place), default=blocks)
    apart = leader is not None and live == [leader] and points.blocks[leader] >= rules.first_look
    first = evidence.contenders[leader].scheme if leader is not None else ""
    reasons = (
        (leader is None, "no contender can keep the limits"),
        (apart, f"{first} is apart from all others"),
        (fewest >= rules.max_blocks, f"all {rules.max_blocks} blocks are measured"),
        (_spent(evidence, racing) >= rules.seconds, f"{rules.seconds:g} s per contender are spent"),
        (
            widest <= rules.precision and not waiting,
            f"every latency ratio is known to {100 * rules.precision:g} %",
        ),
    )
    for holds, why in reasons:
        if holds:
            return True, why
    return False, f"{len(live)} contenders are not apart, ratios known to {100 * widest:.1f} %"


def _waits_for_answers(
    evidence: Evidence, points: Points, contrasts: Contrasts, rules: RaceRules, live: Sequence[bool]
) -> bool:
    """Say whether the live would be apart if their accuracies were exactly those seen so far, while some have samples to go.

    Then another block, which brings answers too, is worth more than its times; so it is while some share no sample at all.
    """
    places = np.flatnonzero(live)
    if (points.answered[places] >= evidence.samples).all():
        return False
    known = contrasts.take(places)
    if np.isinf(known.sample_sd).any():
        return True
    known = replace(known, sample_sd=np.zeros_like(known.sample_sd))
    return int(np.sum(~beaten(known, rules.spending).any(axis=1))) == 1


def _half_widths(evidence: Evidence, points: Points, rules: RaceRules) -> Floats:
    """Return half the width of each log ratio's 95 % interval, infinite before the first look.

    The spread counts as at least that of all contenders together: a session that stops when its own spread happens to look small would print intervals
    that are too narrow.
    """
    ratio = evidence.latencies.log_ratio
    blocks = np.maximum(points.blocks, 2)
    squares = np.nansum((ratio - points.log_ratio) ** 2, axis=0)
    several = (points.blocks > 1) & (np.arange(len(blocks)) > 0)
    pooled = squares[several].sum() / max(1, int((points.blocks[several] - 1).sum()))
    spread = np.sqrt(np.maximum(squares / (blocks - 1), pooled))
    widths: Floats = np.where(
        points.blocks < rules.first_look, np.inf, t_quantile(0.975, blocks - 1) * spread / np.sqrt(blocks)
    )
    return widths


def _spent(evidence: Evidence, live: Sequence[int]) -> float:
    """Return the mean seconds of a live contender's own time."""
    names = {evidence.contenders[place] for place in live}
    spent = 0.0
    for block in evidence.log.blocks:
        for turn in block.turns:
            if turn.contender in names:
                warmup = turn.warmup * sum(turn.latencies_ns) / max(1, len(turn.latencies_ns))
                spent += (turn.load_ns + turn.cold_ns + warmup + sum(turn.latencies_ns)) / 1e9
    return spent / max(1, len(names))


def _standing(evidence: Evidence, points: Points, place: int, left: str) -> Standing:
    total = float(points.total[place])
    return Standing(
        contender=evidence.contenders[place],
        total=None if np.isnan(total) else total,
        ratio=float(np.exp(points.log_ratio[place])),
        blocks=int(points.blocks[place]),
        left=left,
    )


def _beaten_words(evidence: Evidence, points: Points, place: int, rival: int) -> str:
    other = evidence.contenders[rival]
    return (
        f"cannot come first: L {points.total[place]:+.2f} against {points.total[rival]:+.2f} of "
        f"{other.scheme} under {other.setting}"
    )
