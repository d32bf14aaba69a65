"""Is the selection right, and honest about it? 1,000 sessions on simulated devices for each question, with the race and the verdict of the product.

Six candidates: the baseline, the best at a random ratio, the second 3 % slower than the best, three more 6 to 60 % slower. Answers are scored as the inferences
bring them, as on a device; for identical candidates they are known from the start, which is when one is most easily called the winner. Timing one candidate after the other gets as many inferences. Run from the repository: `make proof-selection-simulation`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import special

from benchmarks.proofs.figures import Figures
from benchmarks.proofs.log_ratio import add_log_ratio
from benchmarks.proofs.simulated_devices import (
    LATENCY_ONLY,
    Fleet,
    Session,
    contenders,
    equal_answers,
    one_after_the_other,
    verdict_of,
)
from ota.analysis.accuracy import drop_bound
from ota.core.conditions import ConditionLimits, Conditions, Watch, void_reason
from ota.core.objective import Limits
from ota.core.samples import HostScores
from ota.core.verdict import Answer, Status

SESSIONS = 1000
CANDIDATES = 6
MLPERF = 1024
GAP = 1.03


def true_ratios(seed: int, *, gap: float) -> tuple[float, ...]:
    """Return the true latency ratios, the baseline first, the others in random order."""
    random = np.random.RandomState(seed + 1_000_000)
    best = random.uniform(0.4, 0.95)
    slower = np.exp(random.uniform(np.log(1.06), np.log(1.6), CANDIDATES - 3))
    others = best * np.concatenate(([1.0, gap], slower))
    random.shuffle(others)
    return (1.0, *(float(ratio) for ratio in others))


def session(job: tuple[int, float, float, bool]) -> tuple[float, ...]:
    """Return of one session: winner named, it is the right one, inferences per candidate, intervals that cover and all, the same for L, sequential timing right."""
    seed, gap, bursts, known = job
    ratios = true_ratios(seed, gap=gap)
    fleet = Fleet(ratios=ratios, answers=equal_answers(CANDIDATES, seed), bursts=bursts, known_answers=known)
    one = Session(fleet, seed)
    one.race()
    verdict = one.verdict()
    best = contenders(CANDIDATES)[int(np.argmin(ratios))].scheme
    named = verdict.answer is Answer.WINNER
    covered = covered_totals = 0
    for estimate in verdict.estimates[1:]:
        truth = ratios[one.all.index(estimate.contender)]
        covered += estimate.ratio.low <= truth <= estimate.ratio.high
        covered_totals += estimate.total.low <= truth - 1 <= estimate.total.high
    per_candidate = one.inferences / CANDIDATES
    sequential = contenders(CANDIDATES)[one_after_the_other(fleet, round(per_candidate), seed + 5)].scheme
    right = named and verdict.winner is not None and verdict.winner.scheme == best
    count = len(verdict.estimates) - 1
    return (named, right, per_candidate, covered, count, covered_totals, sequential == best, len(one.blocks))


def twins(job: tuple[int, int]) -> bool:
    """Say whether one of `count` identical candidates, the baseline among them, is called the winner."""
    seed, count = job
    fleet = Fleet(ratios=(1.0,) * count, answers=equal_answers(count, seed), known_answers=True)
    one = Session(fleet, seed)
    one.race()
    return one.verdict().answer is Answer.WINNER


ACCURACY_CASES = tuple(
    (samples, discordance) for samples in (100, 300, 1000, 2000) for discordance in (0.02, 0.05, 0.2)
)
LIMIT = 0.02


def accepts(job: tuple[int, int, float]) -> bool:
    """Say whether a candidate whose true loss is the limit is called feasible, by the verdict itself."""
    seed, samples, discordance = job
    random = np.random.RandomState(seed)
    lost, gained = (discordance + LIMIT) / 2, (discordance - LIMIT) / 2
    fate = random.random_sample(samples)
    base = np.where(fate < lost, 1.0, np.where(fate < lost + gained, 0.0, fate < 0.95)).astype(np.float64)
    ours = np.where(fate < lost, 0.0, np.where(fate < lost + gained, 1.0, base))
    one = Session(Fleet(ratios=(1.0, 0.5), answers=np.stack((base, ours), axis=1)), seed)
    for _ in range(one.rules.first_look):
        one.block(one.all)
    objective = replace(LATENCY_ONLY, limits=Limits(accuracy_drop=LIMIT))
    scores = [
        HostScores(contender=c, samples=tuple(range(samples)), values=tuple(values.tolist()))
        for c, values in zip(one.all, (base, ours), strict=True)
    ]
    verdict = verdict_of(one.log, scores, objective, rules=one.rules)
    row = next(row for row in verdict.rows if row.scheme == one.all[1].scheme)
    return row.status is Status.FEASIBLE


def exact_acceptance(job: tuple[int, float, float]) -> float:
    """Return the probability that `drop_bound` accepts a true loss equal to the limit, by enumeration of the trinomial counts."""
    samples, limit, discordance = job
    lost, gained = (discordance + limit) / 2, (discordance - limit) / 2
    spread = 6 * np.sqrt(samples * max(gained, 1 / samples))
    chance, most = 0.0, -1
    for count in range(int(min(samples, samples * gained + spread + 10)) + 1):
        while most + 1 + count <= samples and drop_bound(most + 1, count, samples) <= limit:
            most += 1
        weight = special.bdtr(count, samples, gained) - (
            special.bdtr(count - 1, samples, gained) if count else 0
        )
        chance += weight * (special.bdtr(most, samples - count, lost / (1 - gained)) if most >= 0 else 0.0)
    return float(chance)


def faulty(seed: int) -> tuple[int, int, int, int, bool]:
    """Run a session in which every third block or so is throttled, under-volted or slow; return faults, voided of them, clean blocks voided, valid blocks, verdict untouched."""
    random = np.random.RandomState(seed + 77)
    faults: list[bool] = []

    def surroundings(one: Session) -> tuple[Watch, str]:
        kind = random.randint(0, 12)
        bad = kind < 4
        one.slow = random.uniform(1.2, 2.5) if bad else 1.0
        word = {0: 0x4, 1: 0x1}.get(kind, 0)
        later = 0x10000 if kind == 2 else word
        clock = 1_500_000 if kind != 3 else int(1_500_000 * random.uniform(0.4, 0.95))
        watch = Watch(
            before=Conditions(throttled=0, clock_khz=(1_500_000,) * 4, temperature_c=50.0, boot_id="b"),
            after=Conditions(throttled=later, clock_khz=(clock,) * 4, temperature_c=51.0, boot_id="b"),
            seconds=5.0,
        )
        first = next((block.watch for block in one.blocks if not block.void), None)
        faults.append(bad)
        return watch, void_reason(watch, first, ConditionLimits())

    one = Session(Fleet(ratios=true_ratios(seed, gap=GAP), answers=equal_answers(CANDIDATES, seed)), seed)
    one.race(surroundings)
    voided = [bool(block.void) for block in one.blocks]
    log = one.log
    clean = replace(
        log, blocks=tuple(block for block, bad in zip(log.blocks, faults, strict=True) if not bad)
    )
    scores = one.scores(complete=True)
    untouched = verdict_of(clean, scores, LATENCY_ONLY, rules=one.rules) == one.verdict()
    caught = sum(v for v, bad in zip(voided, faults, strict=True) if bad)
    wrong = sum(v for v, bad in zip(voided, faults, strict=True) if not bad)
    return sum(faults), caught, wrong, len(voided) - sum(voided), untouched


def run(pool: ProcessPoolExecutor, work: Callable[[Any], Any], jobs: Iterable[Any]) -> list[Any]:
    """Return the results in the order of the jobs."""
    return list(pool.map(work, list(jobs), chunksize=20))


def sessions(pool: ProcessPoolExecutor, figures: Figures) -> None:
    """Right winner, intervals, inferences."""
    clean = np.array(
        run(pool, session, ((seed, GAP, 0.0, False) for seed in range(SESSIONS))), dtype=np.float64
    )
    burst = np.array(
        run(pool, session, ((seed, GAP, 0.02, False) for seed in range(SESSIONS // 4))), dtype=np.float64
    )
    equal = np.array(
        run(pool, session, ((seed, 1.0, 0.0, True) for seed in range(SESSIONS))), dtype=np.float64
    )
    print(
        f"{SESSIONS} sessions, six candidates, gap 3 %: blocks median {np.median(clean[:, 7]):.0f}, most {clean[:, 7].max():.0f}"
    )
    print(f"  a wrong winner was named in {100 * np.mean(clean[:, 0] - clean[:, 1]):.1f} %")
    print(f"  one after the other, as many inferences: right in {100 * clean[:, 6].mean():.1f} %")
    print(
        f"  with bursts over 2 % of turns: right in {100 * burst[:, 1].mean():.1f} %, {burst[:, 2].mean():.0f} inferences per candidate"
    )
    print(f"{SESSIONS} sessions, best two of six identical: blocks median {np.median(equal[:, 7]):.0f}")
    figures.add("right winner", 100 * clean[:, 1].mean(), ">=", 99, unit=" %")
    figures.add("one after the other, right winner", 100 * clean[:, 6].mean(), "<=", 80, unit=" %")
    figures.add("inferences per candidate", clean[:, 2].mean(), "<=", MLPERF / 5)
    for name, rows in (("gap 3 %", clean), ("twins", equal)):
        figures.within(
            f"ratio intervals that cover, {name}",
            100 * rows[:, 3].sum() / rows[:, 4].sum(),
            93,
            97,
            unit=" %",
        )
        figures.within(
            f"L intervals that cover, {name}", 100 * rows[:, 5].sum() / rows[:, 4].sum(), 93, 97, unit=" %"
        )
    figures.add("best two identical, a winner named", 100 * equal[:, 0].mean(), "<=", 5, unit=" %")


def alone(pool: ProcessPoolExecutor, figures: Figures) -> None:
    """Nothing but identical candidates."""
    for count, rounds in ((2, SESSIONS), (6, SESSIONS // 2)):
        named = run(pool, twins, ((seed, count) for seed in range(rounds)))
        figures.add(
            f"{count} identical candidates, a winner named", 100 * float(np.mean(named)), "<=", 5, unit=" %"
        )


def accuracy(pool: ProcessPoolExecutor, figures: Figures) -> None:
    """A true loss at the limit."""
    jobs = [(seed, *case) for case in ACCURACY_CASES for seed in range(SESSIONS // 4)]
    accepted = np.array(run(pool, accepts, jobs), dtype=np.float64).reshape(len(ACCURACY_CASES), -1)
    for (samples, discordance), share in zip(ACCURACY_CASES, accepted.mean(axis=1), strict=True):
        print(
            f"  true loss 2 %, limit 2 %, {samples} samples, {100 * discordance:g} % discordant: accepted {100 * share:.1f} %"
        )
    exact = [
        (samples, limit, discordance)
        for samples in (50, 100, 133, 149, 200, 300, 478, 700, 1000, 1500, 2000)
        for limit in (0.002, 0.005, 0.01, 0.02, 0.05)
        for discordance in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
        if discordance >= limit
    ]
    worst = max(zip(run(pool, exact_acceptance, exact), exact, strict=True))
    print(f"  exact, {len(exact)} cases, worst: samples, limit, discordance {worst[1]}")
    figures.add("true loss at the limit accepted, sessions", 100 * float(accepted.mean()), "<=", 5, unit=" %")
    figures.add("true loss at the limit accepted, worst exact case", 100 * worst[0], "<=", 5, unit=" %")


def faults(pool: ProcessPoolExecutor, figures: Figures) -> None:
    """Throttled, under-volted and slow blocks."""
    rows = np.array(run(pool, faulty, range(SESSIONS // 4)), dtype=np.int64)
    bad, caught, wrong, valid, untouched = rows.sum(axis=0)
    print(f"{len(rows)} sessions with faults: {bad} bad blocks, {valid} that count")
    figures.add("bad blocks voided", 100 * caught / bad, "=", 100, unit=" %")
    figures.add("good blocks voided", float(wrong), "=", 0)
    figures.add("verdicts that a bad block changed", float(len(rows) - untouched), "=", 0)


def look_time() -> None:
    """Time one look at the largest session."""
    one = Session(Fleet(ratios=(1.0,) * 40, answers=equal_answers(40, 1)), 1)
    for _ in range(40):
        one.block(one.all)
    one.look()
    began = time.perf_counter()
    for _ in range(20):
        one.look()
    print(f"a look at 40 blocks of 40 contenders: {(time.perf_counter() - began) / 20 * 1e3:.1f} ms")


def main() -> None:
    """Run everything and print the figures."""
    began = time.perf_counter()
    figures = Figures()
    with ProcessPoolExecutor(2) as pool:
        sessions(pool, figures)
        alone(pool, figures)
        accuracy(pool, figures)
        faults(pool, figures)
    add_log_ratio(figures)
    look_time()
    print(f"{time.perf_counter() - began:.0f} s")
    figures.finish()


if __name__ == "__main__":
    sys.exit(main())
