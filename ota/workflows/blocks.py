"""Blocks: who runs when and on which samples, and what the raw answers say sample by sample."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence

from ota.core.facts import Runtime
from ota.core.measurement import Contender
from ota.core.playbook import MeasureSpec
from ota.core.samples import Block, HostScores, Turn
from ota.remote.bench_replies import BlockReply, Refusal, TurnRequest
from ota.workflows.select import Score


class Answers:
    """The numbers of every contender on the evaluation samples that it has run on; `count` is how many samples there are."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._values: dict[Contender, dict[int, float]] = {}

    def add(self, contender: Contender, samples: Sequence[int], values: Sequence[float]) -> None:
        """Note the numbers of a turn; of a sample that was run twice the first stays."""
        held = self._values.setdefault(contender, {})
        for sample, value in zip(samples, values, strict=True):
            held.setdefault(sample, value)

    def missing(self, contender: Contender) -> tuple[int, ...]:
        """Return the samples that a contender has not run on, ascending."""
        held = self._values.get(contender, {})
        return tuple(sample for sample in range(self.count) if sample not in held)

    def next_sample(self, contenders: Sequence[Contender]) -> int | None:
        """Return the sample with which the next block begins: the first that the furthest of the incomplete has not seen; None: all are complete."""
        missing = [gaps for contender in contenders if (gaps := self.missing(contender))]
        return min(missing, key=len)[0] if missing else None

    def scores(self, contenders: Sequence[Contender]) -> tuple[HostScores, ...]:
        """Return what there is of each of `contenders`, in their order."""
        return tuple(
            HostScores(
                contender=contender,
                samples=tuple(sorted(held)),
                values=tuple(held[sample] for sample in sorted(held)),
            )
            for contender in contenders
            if (held := self._values.get(contender))
        )

    @staticmethod
    def turns_of(
        order: Sequence[Contender], asked: Sequence[TurnRequest], reply: BlockReply
    ) -> tuple[tuple[Turn, ...], bytes]:
        """Return a device's answer as turns, and the kept outputs of all of them one after the other."""
        turns: list[Turn] = []
        outputs: list[bytes] = []
        for contender, request, answer in zip(order, asked, reply.turns, strict=True):
            if isinstance(answer, Refusal):
                turns.append(Turn(contender=contender, failure=answer.reason, failure_kind=answer.kind))
                continue
            kept = answer.output_shape[0] if answer.outputs else 0
            outputs.append(answer.outputs)
            turns.append(
                Turn(
                    contender=contender,
                    load_ns=answer.load_ns,
                    cold_ns=answer.cold_ns,
                    warmup=answer.warmup,
                    first=request.first,
                    latencies_ns=answer.latencies_ns,
                    kept=kept,
                    output_bytes=len(answer.outputs),
                )
            )
        return tuple(turns), b"".join(outputs)


def compose(participants: Sequence[Contender], host: str, number: int, seed: int) -> tuple[Contender, ...]:
    """Return the order of a block: shuffled, the same for the same seed, host and number."""
    order = sorted(participants)
    random.Random(f"{seed}/{host}/{number}").shuffle(order)  # noqa: S311 - an order, no secret
    return tuple(order)


def behind(
    live: Sequence[Contender], baseline: Contender, blocks: Sequence[Block], settled: Collection[Contender]
) -> list[Contender]:
    """Return who takes part in the next block, the baseline always: those that have had fewer of the valid `blocks` than the others, or all.

    Those of a race that is `settled` stand aside while there are others.
    """
    counts = dict.fromkeys(live, 0)
    for block in blocks:
        for turn in block.turns:
            if turn.contender in counts:
                counts[turn.contender] += 1
    rivals = [contender for contender in live if contender != baseline]
    rivals = [contender for contender in rivals if contender not in settled] or rivals
    fewest = min((counts[contender] for contender in rivals), default=0)
    return [baseline, *(contender for contender in rivals if counts[contender] == fewest)]


def requests(
    order: Sequence[Contender],
    runtimes: Mapping[str, Runtime],
    answers: Answers,
    spec: MeasureSpec,
    *,
    to_the_end: bool,
) -> tuple[TurnRequest, ...]:
    """Return what the device is asked: for each turn a share of the samples, or with `to_the_end` all that is missing."""
    start = answers.next_sample(order)
    return tuple(
        _to_the_end(contender, runtimes, answers)
        if to_the_end and answers.missing(contender)
        else TurnRequest(
            digest=contender.digest,
            runtime=runtimes[contender.setting.runtime],
            threads=contender.setting.threads,
            first=start or 0,
            count=spec.inferences,
            min_s=spec.turn_s,
            max_s=spec.max_turn_s,
            keep=bool(answers.missing(contender)),
        )
        for contender in order
    )


def _to_the_end(contender: Contender, runtimes: Mapping[str, Runtime], answers: Answers) -> TurnRequest:
    gaps = answers.missing(contender)
    return TurnRequest(
        digest=contender.digest,
        runtime=runtimes[contender.setting.runtime],
        threads=contender.setting.threads,
        first=gaps[0],
        count=max(gaps[-1] - gaps[0] + 1, 1),
        max_s=None,
        keep=True,
    )


def pieces(block: Block, outputs: bytes) -> Iterator[tuple[Turn, bytes]]:
    """Yield the turns of a block that kept outputs, each with its part of them."""
    start = 0
    for turn in block.turns:
        if turn.kept:
            yield turn, outputs[start : start + turn.output_bytes]
            start += turn.output_bytes


def judged(block: Block, outputs: bytes, score: Score, answers: Answers) -> Iterator[tuple[Contender, str]]:
    """Add what a block's outputs say to `answers`; yield (contender, reason) for those whose outputs are no answers.

    A void block's outputs count: heat and load change times, not answers.
    """
    for turn, piece in pieces(block, outputs):
        samples = [(turn.first + index) % answers.count for index in range(turn.kept)]
        width = turn.output_bytes // (4 * turn.kept)
        try:
            answers.add(turn.contender, samples, score(piece, (turn.kept, width), samples))
        except ValueError as error:
            yield turn.contender, str(error)
