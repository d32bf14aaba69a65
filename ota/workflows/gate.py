"""The gate at work on one device: the evaluation samples through the release's model and the live one, turn by turn, until the rule of `analysis.gate` has spoken.

Invariants: what a measurement needs is on the device before the activation, so that the trial is short; both models run in the same blocks, in shuffled order,
each under its own runtime and threads; what cannot be shown to be kept does not pass. A live model that does not run itself is no measure: the release passes, and that is told.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from ota.analysis.answers import scorer
from ota.analysis.gate import BLOCKS, LEAST_BLOCKS, Figure, Finding, Measured, judge, tail_ns
from ota.core.events import Progressed
from ota.core.facts import Facts, HeldRelease, Runtime, SlotState
from ota.core.gate import GateSpec
from ota.core.metric import metric_named
from ota.core.protocol import BlobKind
from ota.core.release import Digest
from ota.core.selection import Selection
from ota.core.setting import Setting
from ota.errors import CommandEndedError, GateError, HostError, UnreachableError
from ota.remote.bench_replies import Refusal, TurnReply, TurnRequest
from ota.remote.device import Device
from ota.store.store import Store
from ota.workflows.order import Ends, Gate, Order
from ota.workflows.steps import Steps

Score = Callable[[bytes, tuple[int, ...], Sequence[int]], tuple[float, ...]]
"""Returns the metric's number of each answer: float32 outputs, their shape, the samples' numbers; ValueError for what is no answer."""
_INFERENCES = 20
_WARMUP, _WARMUP_S = 3, 0.05
_GOLDEN = (math.sqrt(5) - 1) / 2
_AROUND = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a gate measures with: samples as they are sent, their number, and how answers to them are scored."""

    dataset: Digest
    samples: int
    metric: str
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rival:
    """A model under its setting."""

    name: str
    digest: Digest
    runtime: Runtime
    threads: int


def evaluation_of(selection: Selection, store: Store) -> Evaluation:
    """Return what a selection was measured with."""
    log, inputs = store.sample_log(selection.log), selection.inputs
    return Evaluation(
        dataset=inputs.evaluation,
        samples=inputs.samples,
        metric=inputs.metric,
        score=scorer(inputs.metric, store.blob(log.targets).read_bytes()),
    )


def held_to(spec: GateSpec, evaluation: Evaluation) -> Gate:
    """Return the gate of these bounds, a value; a measurement that has nothing to compare with only says so."""
    return _Held(spec=spec, evaluation=evaluation)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A `Gate` that crosses process borders."""

    spec: GateSpec
    evaluation: Evaluation

    def __call__(
        self, device: Device, slot: SlotState, order: Order, ends: Ends, steps: Steps
    ) -> Callable[[], None]:
        live = _live(slot, order)
        if live is None or live.model_digest is None or not live.intact:
            what = "there is no live release" if live is None else f"the live release {live.id} is damaged"
            return lambda: steps.ok("gate", f"nothing to compare with: {what}")
        setting = order.release.manifest.setting
        if live.model_digest == order.release.model.digest and live.setting == setting:
            return lambda: steps.ok("gate", "the live release has the same model")
        facts = device.facts()
        ours = _rival("the new model", order.release.model.digest, setting, device, facts, ends)
        theirs = _rival("the live model", live.model_digest, live.setting, device, facts, ends)
        device.put(BlobKind.DATASET, self.evaluation.dataset, ends.blob(self.evaluation.dataset))
        return _Measurement(self.evaluation, self.spec, device, ends, steps, (ours, theirs)).pass_or_fail


def _live(slot: SlotState, order: Order) -> HeldRelease | None:
    """Return what the release replaces: what is current, or was before the trial that nobody has confirmed."""
    earlier = slot.previous if slot.pending is not None and slot.previous else slot.current
    return slot.held(earlier) if earlier != order.release.id else None


def _rival(
    name: str, digest: Digest, setting: Setting | None, device: Device, facts: Facts, ends: Ends
) -> _Rival:
    runtime = ends.runtime_for(device.host, facts, setting.runtime if setting else None)
    return _Rival(name=name, digest=digest, runtime=runtime, threads=setting.threads if setting else 1)


@dataclass(slots=True)
class _Answers:
    """What one model has answered so far, in the order of asking."""

    values: list[float] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)


class _NoMeasureError(Exception):
    """The live model does not run or does not answer."""


class _Measurement:
    """Blocks on one device; `pass_or_fail` is its one use."""

    def __init__(
        self,
        evaluation: Evaluation,
        spec: GateSpec,
        device: Device,
        ends: Ends,
        steps: Steps,
        rivals: tuple[_Rival, _Rival],
    ) -> None:
        self._evaluation = evaluation
        self._spec = spec
        self._device = device
        self._ends = ends
        self._steps = steps
        self._rivals = rivals
        self._answers = (_Answers(), _Answers())
        self._order = random.Random(device.host.name)  # noqa: S311 - an order, no secret
        self._step = stride(evaluation.samples)

    def pass_or_fail(self) -> None:
        """Measure and tell; GateError where the model does not pass, or could not be measured."""
        try:
            figures = self._measure()
        except _NoMeasureError as error:
            self._steps.ok("gate", f"nothing to compare with: {error}")
            return
        except (UnreachableError, CommandEndedError, GateError):
            raise
        except HostError as error:
            raise GateError(
                f"the gate could not be measured: {error.reason}", where=self._device.host.name
            ) from error
        bad = [figure for figure in figures if figure.finding is not Finding.KEPT]
        if bad:
            words = {Finding.BROKEN: "is broken", Finding.OPEN: "could not be shown to be kept"}
            why = "; ".join(f"a bound {words[figure.finding]}: {figure.words}" for figure in bad)
            raise GateError(f"the model does not pass the gate: {why}", where=self._device.host.name)
        self._steps.ok("gate", "; ".join(figure.words for figure in figures))

    def _measure(self) -> tuple[Figure, ...]:
        began = time.monotonic()
        metric = metric_named(self._evaluation.metric)
        while True:
            self._block()
            measured = self._so_far()
            over = time.monotonic() - began >= self._spec.budget_s
            last = measured.complete(self._spec) or (over and len(measured.ratios) >= LEAST_BLOCKS)
            figures = judge(measured, self._spec, metric, last=last)
            if last or any(figure.finding is Finding.BROKEN for figure in figures):
                return figures

    def _block(self) -> None:
        """Give each model a turn on the same samples, in an order of chance."""
        asked = len(self._answers[0].values)
        left = max(0, self._evaluation.samples - asked)
        share = math.ceil(self._evaluation.samples / BLOCKS)
        places = [0, 1]
        self._order.shuffle(places)
        turns = [
            TurnRequest(
                digest=self._rivals[place].digest,
                runtime=self._rivals[place].runtime,
                threads=self._rivals[place].threads,
                first=asked * self._step % self._evaluation.samples,
                step=self._step,
                count=max(min(share, left), _INFERENCES),
                max_s=self._spec.budget_s / BLOCKS,
                keep=left > 0,
            )
            for place in places
        ]
        block = self._device.bench(
            self._evaluation.dataset,
            turns,
            warmup=_WARMUP,
            warmup_s=_WARMUP_S,
            cool_s=0.0,
            turn_timeout_s=max(60.0, self._spec.budget_s),
        )
        replies = dict(zip(places, block.turns, strict=True))
        # The release's own failure is told before the live model's.
        for place in (0, 1):
            self._take(place, replies[place], left)
        self._ends.emit(
            Progressed(
                host=self._device.host.name,
                step="gate",
                done=min(len(self._answers[0].tails), BLOCKS),
                total=BLOCKS,
            )
        )

    def _take(self, place: int, reply: TurnReply | Refusal, left: int) -> None:
        rival, answers = self._rivals[place], self._answers[place]
        if isinstance(reply, Refusal):
            self._give_up(
                place, f"{rival.name} does not {reply.kind} under {rival.runtime.label}: {reply.reason}"
            )
        answers.tails.append(tail_ns(reply.latencies_ns))
        kept = min(reply.output_shape[0], left)
        if not kept:
            return
        first = len(answers.values)
        samples = [(first + number) * self._step % self._evaluation.samples for number in range(kept)]
        shape = (kept, *reply.output_shape[1:])
        try:
            values = self._evaluation.score(reply.outputs[: 4 * math.prod(shape)], shape, samples)
        except ValueError as error:
            self._give_up(place, f"{rival.name}'s answers are none: {error}")
        answers.values += values

    def _give_up(self, place: int, why: str) -> NoReturn:
        if place:
            raise _NoMeasureError(why)
        raise GateError(f"the model does not pass the gate: {why}", where=self._device.host.name)

    def _so_far(self) -> Measured:
        """Return what both have answered: where time cut one of them short, the other's are as few, and are asked again."""
        ours, theirs = self._answers
        both = min(len(ours.values), len(theirs.values))
        for one in (ours, theirs):
            del one.values[both:]
        return Measured(
            values=tuple(ours.values),
            live=tuple(theirs.values),
            ratios=tuple(new / old for new, old in zip(ours.tails, theirs.tails, strict=True)),
            samples=self._evaluation.samples,
        )


def stride(samples: int) -> int:
    """Return a step that visits each of so many samples once, any few in a row of them spread over all.

    Of the steps around the golden ratio's the one whose continued fraction has the least greatest quotient: a good lattice (Zaremba 1966, Annali di
    Matematica 73).
    """
    middle = round(samples * _GOLDEN)
    around = range(max(1, middle - _AROUND), middle + _AROUND + 1)
    fit = [step for step in around if math.gcd(step, samples) == 1]
    return min(fit, key=lambda step: (_greatest_quotient(samples, step), abs(step - middle)))


def _greatest_quotient(above: int, below: int) -> int:
    greatest = 0
    while below:
        greatest = max(greatest, above // below)
        above, below = below, above % below
    return greatest
