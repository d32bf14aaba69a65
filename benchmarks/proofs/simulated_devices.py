"""Devices made of random numbers whose truth is known, measured by the real race and judged by the real verdict.

Each inference takes the contender's true time with 5 % normal noise in its logarithm; 2 % take 2 to 5 times as long; the device warms up
and becomes up to 20 % slower, most of it within the first blocks. A session is what `ota select` does: blocks of 20 inferences a turn in shuffled order, a
look after each, until the race stops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ota.analysis.evidence import Question
from ota.analysis.race import RaceRules, RaceState, decide_next
from ota.analysis.verdict import decide
from ota.core.conditions import Conditions, Watch
from ota.core.device_class import DeviceClass
from ota.core.facts import Facts
from ota.core.measurement import Candidate, Contender
from ota.core.metric import metric_named
from ota.core.objective import Objective, Weights
from ota.core.release import Digest
from ota.core.samples import Block, HostLog, HostScores, SampleLog, Turn
from ota.core.scheme import SCHEMES
from ota.core.setting import Setting
from ota.core.verdict import Verdict

NOISE, OUTLIERS, DRIFT, INFERENCES = 0.05, 0.02, 0.20, 20
BASE_NS = 10e6
SAMPLES = 1000
RUNTIME = "simulated 1"
FACTS = Facts(
    boot_id="b", architecture="aarch64", python=(3, 11, 2), python_executable="/usr/bin/python3", python_bits=64, libc="glibc 2.36",
    system_numpy="", memory_total_bytes=1 << 30, memory_available_bytes=1 << 29, disk_free_bytes=1 << 30, cpu_model="simulated", cpu_count=4,
    os="simulated", kernel="0", hostname="simulated", root="/r", runtimes=(),
)  # fmt: skip
QUIET = Watch(before=Conditions(), after=Conditions(), seconds=1.0)
LATENCY_ONLY = Objective(weights=Weights(size=1.0, latency=1.0, accuracy=1.0, transfer=0.0))


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """One simulated device: true latency ratios to the baseline (the first), answers per candidate [samples, candidates], bursts over whole turns."""

    ratios: tuple[float, ...]
    answers: np.ndarray
    bursts: float = 0.0
    known_answers: bool = False
    """Whether all answers are scored from the first look on; otherwise those of the inferences that ran."""


def contenders(count: int) -> tuple[Contender, ...]:
    """Return `count` contenders, the baseline first, of equal size."""
    names = [*(scheme.name for scheme in SCHEMES), *(f"candidate_{number}" for number in range(count))]
    return tuple(
        Contender(
            scheme=name,
            digest=Digest.of(name.encode()),
            setting=Setting(runtime=RUNTIME, threads=1),
        )
        for name in names[:count]
    )


class Session:
    """A session on one device, block by block."""

    def __init__(self, fleet: Fleet, seed: int, rules: RaceRules | None = None) -> None:
        self.fleet, self.rules = fleet, rules or RaceRules()
        self.random = np.random.RandomState(seed)
        self.all = contenders(len(fleet.ratios))
        self.blocks: list[Block] = []
        self.turns = 0
        self.slow = 1.0
        self.ran: dict[Contender, int] = dict.fromkeys(self.all, 0)
        self.inferences = 0
        self.question = Question(
            objective=LATENCY_ONLY,
            metric=metric_named("accuracy"),
            sizes={c.digest: 1_000_000 for c in self.all},
            samples=len(fleet.answers),
        )

    def times(self, place: int, count: int) -> tuple[int, ...]:
        """Return `count` inference times of the contender at `place`, now."""
        warm = 1 + DRIFT * (1 - np.exp(-self.turns / (4.0 * len(self.all))))
        self.turns += 1
        logs = NOISE * self.random.standard_normal(count)
        wild = self.random.random_sample(count) < OUTLIERS
        factor = np.where(wild, self.random.uniform(2, 5, count), 1.0)
        burst = self.random.uniform(1.5, 3) if self.random.random_sample() < self.fleet.bursts else 1.0
        return tuple(
            int(x)
            for x in BASE_NS * self.fleet.ratios[place] * self.slow * warm * burst * np.exp(logs) * factor
        )

    def block(self, live: Sequence[Contender], watch: Watch = QUIET, void: str = "") -> Block:
        """Measure one block of the live contenders and keep it."""
        order = [live[place] for place in self.random.permutation(len(live))]
        turns = []
        for contender in order:
            first = self.ran[contender]
            turns.append(
                Turn(
                    contender=contender,
                    load_ns=1_000_000,
                    cold_ns=20_000_000,
                    warmup=3,
                    first=first % self.question.samples,
                    latencies_ns=self.times(self.all.index(contender), INFERENCES),
                )
            )
            self.inferences += INFERENCES
            self.ran[contender] += 0 if void else INFERENCES
        block = Block(number=len(self.blocks) + 1, seed=0, at="", turns=tuple(turns), watch=watch, void=void)
        self.blocks.append(block)
        return block

    @property
    def log(self) -> HostLog:
        """Return what was measured so far."""
        return HostLog(
            host="a",
            facts=FACTS,
            runtimes=(RUNTIME,),
            blocks=tuple(self.blocks),
            examinations=(),
            transfers=(),
        )

    def scores(self, *, complete: bool = False) -> list[HostScores]:
        """Return what each contender answered so far, or to all samples."""
        complete = complete or self.fleet.known_answers
        found = []
        for place, contender in enumerate(self.all):
            count = self.question.samples if complete else min(self.ran[contender], self.question.samples)
            values = tuple(self.fleet.answers[:count, place].tolist())
            found.append(HostScores(contender=contender, samples=tuple(range(count)), values=values))
        return found

    def look(self) -> RaceState:
        """Return the state of the race."""
        return decide_next(self.log, self.scores(), self.question, baseline=self.all[0], rules=self.rules)

    def race(self, surroundings: Callable[[Session], tuple[Watch, str]] | None = None) -> RaceState:
        """Measure until the race stops; `surroundings` gives those of the next block and why it is void, and may set `slow`."""
        live: Sequence[Contender] = self.all
        while True:
            watch, void = surroundings(self) if surroundings else (QUIET, "")
            self.block(live, watch, void)
            if not any(not block.void for block in self.blocks):
                continue
            state = self.look()
            if state.stop:
                return state
            live = state.live

    def verdict(self, objective: Objective = LATENCY_ONLY, *, seed: int = 1) -> Verdict:
        """Return the verdict with every answer scored."""
        return verdict_of(self.log, self.scores(complete=True), objective, rules=self.rules, seed=seed)


def verdict_of(
    log: HostLog, scores: Sequence[HostScores], objective: Objective, *, rules: RaceRules, seed: int = 1
) -> Verdict:
    """Return the verdict over one simulated host."""
    seen = [score.contender for score in scores]
    whole = SampleLog(
        seed=seed,
        candidates=tuple(Candidate(scheme=c.scheme, digest=c.digest, size_bytes=1_000_000) for c in seen),
        hosts=(log,),
        classes=(DeviceClass(name="simulated", hosts=("a",), measured=("a",)),),
        failures=(),
        scopes=(("all", ("a",)),),
        targets=Digest.of(b""),
        metric="accuracy",
        samples=max(len(score.samples) for score in scores),
    )
    return decide(whole, {"a": scores}, (), objective, scope="all", hosts=("a",), seed=seed, rules=rules)


def one_after_the_other(fleet: Fleet, per_candidate: int, seed: int) -> int:
    """Time the candidates one after the other in random order, `per_candidate` inferences each, and return the place of the least median."""
    session = Session(fleet, seed)
    turns = max(1, per_candidate // INFERENCES)
    medians = {}
    for place in session.random.permutation(len(fleet.ratios)):
        times = [ns for _ in range(turns) for ns in session.times(int(place), INFERENCES)]
        medians[int(place)] = float(np.median(times))
    return min(medians, key=lambda place: medians[place])


def equal_answers(count: int, seed: int) -> np.ndarray:
    """Return answers [SAMPLES, count] that are 97 % right and the same for all."""
    right = np.random.RandomState(seed).random_sample(SAMPLES) < 0.97
    return np.repeat(right[:, None].astype(np.float64), count, axis=1)
