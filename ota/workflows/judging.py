"""The rules of the race as a session asks for them: what `ota.analysis.race` says, with those that have not run yet among the live."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from ota.analysis.evidence import Question
from ota.analysis.race import RaceRules, RaceState, decide_next, worth_more_threads
from ota.core.measurement import Candidate, Contender
from ota.core.metric import metric_named
from ota.core.playbook import SelectSpec
from ota.core.release import Digest
from ota.core.samples import HostLog, HostScores


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at a host's measurements says: who is still in the race, whether it is over and why, and who may gain from more threads."""

    live: tuple[Contender, ...]
    finished: bool
    why: str
    more_threads: tuple[Contender, ...]


Judge = Callable[[HostLog, Sequence[HostScores], Sequence[Contender], Collection[Contender]], Look]
"""Looks at what a host has measured so far; the first of the contenders is the baseline, and the settled, given last, hold no more blocks while there are others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """The judge of one selection."""

    spec: SelectSpec
    candidates: Sequence[Candidate]
    samples: int

    def __call__(
        self,
        log: HostLog,
        scores: Sequence[HostScores],
        contenders: Sequence[Contender],
        settled: Collection[Contender],
    ) -> Look:
        """Look at a host; see Judge."""
        blocks = _blocks(log, contenders)
        if not blocks[contenders[0]]:
            return Look(
                live=tuple(contenders), finished=False, why="nothing is measured yet", more_threads=()
            )
        state = self._state(log, scores, contenders, settled)
        live = tuple(c for c in contenders if c in state.live or not blocks[c])
        behind = any(blocks[c] < self.spec.measure.min_blocks for c in live)
        return Look(
            live=live,
            finished=state.stop and not behind,
            why=state.why,
            more_threads=worth_more_threads(state, log.facts.cpu_count),
        )

    def _state(
        self,
        log: HostLog,
        scores: Sequence[HostScores],
        contenders: Sequence[Contender],
        settled: Collection[Contender],
    ) -> RaceState:
        measure = self.spec.measure
        return decide_next(
            log,
            scores,
            Question(
                objective=self.spec.objective,
                metric=metric_named(self.spec.metric),
                sizes=self._sizes(),
                samples=self.samples,
            ),
            baseline=contenders[0],
            among=frozenset(contenders),
            settled=settled,
            rules=RaceRules(
                first_look=measure.min_blocks,
                max_blocks=measure.max_blocks,
                precision=measure.precision,
                seconds=measure.budget_s,
            ),
            seed=measure.seed,
        )

    def _sizes(self) -> Mapping[Digest, int]:
        return {candidate.digest: candidate.size_bytes for candidate in self.candidates}


def _blocks(log: HostLog, contenders: Sequence[Contender]) -> dict[Contender, int]:
    """Return in how many valid blocks each contender had a turn."""
    counts = dict.fromkeys(contenders, 0)
    for block in log.blocks:
        for turn in block.turns:
            if not block.void and turn.contender in counts:
                counts[turn.contender] += 1
    return counts
