"""The race: after each block, which contenders stay, whether measuring may stop, and why. A pure function of what was measured so far.

A contender leaves when it breaks a limit, when a rival's L is less beyond doubt (a test whose level is spent over the looks, `contrast.beaten`), or early,
after a block or two, when it is so slow that the best it can hope for does not reach a rival. Only rivals that may themselves win count.
Nothing is for ever: the state is computed anew from all blocks, so a contender comes back when the rival that beat it turns out to break a limit, and
the race goes on when the accuracy of its leader, completed later, disappoints.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ota.analysis.contrast import Contrasts, Level, beaten, contrasts_of
from ota.analysis.distributions import Floats, t_quantile
from ota.analysis.evidence import Evidence, Points, Question, evidence_of, points_of
from ota.analysis.leaving import broken, hopeless
from ota.core.measurement import Contender
from ota.core.objective import Formula, Objective
from ota.core.samples import HostLog, HostScores


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
        for contender, reason in zip(evidence.contenders, broken(evidence, points), strict=True)
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
