"""One host's part of a selection: files, memory and fast path of each contender, then block after block until the race is over.

Invariants: every block is kept as soon as it is there, and the next session goes on behind it; a contender that cannot be loaded or run is out with the
reason and stops no other; a void block counts for nothing and is repeated, and three in a row end the session as unreliable.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from ota.core.conditions import ConditionLimits, Watch, void_reason
from ota.core.events import Progressed, StepFinished, Warned
from ota.core.measurement import Candidate, Contender, Failure, FailureKind
from ota.core.playbook import ALL_CORES
from ota.core.protocol import BlobKind
from ota.core.release import Digest
from ota.core.samples import Block, Examination, HostLog, HostScores, TimedTransfer
from ota.core.scheme import BASELINE
from ota.core.setting import Setting
from ota.core.wire import Encoding, Timed
from ota.errors import HostError, UnreachableError
from ota.remote.bench_replies import Refusal
from ota.workflows.blocks import Answers, behind, compose, judged, requests
from ota.workflows.crossings import said
from ota.workflows.judging import Look
from ota.workflows.select import Ends, HostResult, Opened, Plan

MOST_VOID = 3
"""So many void blocks one after the other make a host unreliable."""
_ENOUGH_TRANSFERS = 3
"""So many timed transfers tell the line's overhead and rate."""
_CONTEXT_FORMAT = 1


class HostSession:
    """Measures one host, in rounds; used from one thread at a time."""

    def __init__(self, one: Opened, plan: Plan, ends: Ends) -> None:
        self._one = one
        self._plan = plan
        self._ends = ends
        self._host = one.host.name
        self._runtimes = {runtime.label: runtime for runtime in one.runtimes}
        self._context = _context(one, plan)
        self._limits = ConditionLimits(busy_other=plan.spec.measure.other_load)
        self._contenders: list[Contender] = []
        self._failures: list[Failure] = []
        self._blocks: list[Block] = []
        self._examinations: dict[Contender, Examination] = {}
        self._answers = Answers(plan.samples)
        self._transfers: dict[Digest, TimedTransfer] = {}
        self._there: list[Digest] = []
        self._settled: frozenset[Contender] = frozenset()
        self._unreliable = ""
        self._begun = False

    def run(self, must: Sequence[Contender] = ()) -> HostResult:
        """Race, or measure the contenders in `must` to the end; return everything that the host contributed so far."""
        if not self._begun:
            self._begin()
        if self._contenders and self._contenders[0].scheme == BASELINE:
            self._measure(must)
        self._ends.emit(
            StepFinished(
                host=self._host,
                step="measure",
                result="failed" if self._unreliable else "ok",
                detail=self._summary(),
            )
        )
        return HostResult(
            host=self._one.host, log=self._log(), scores=self._scores(), failures=tuple(self._failures)
        )

    def _summary(self) -> str:
        if self._unreliable:
            return self._unreliable
        valid = [block for block in self._blocks if not block.void]
        inferences = sum(len(turn.latencies_ns) for block in valid for turn in block.turns)
        return f"{len(self._contenders)} candidates, {len(valid)} blocks, {inferences} inferences"

    def _begin(self) -> None:
        self._begun = True
        if self._ends.fresh:
            self._ends.kept.forget(self._host, self._context)
        self._one.device.put(BlobKind.DATASET, self._plan.evaluation, self._ends.blob(self._plan.evaluation))
        base = self._threads()[0]
        for candidate in self._bring(self._plan.candidates):
            for runtime in self._one.runtimes:
                reason = self._plan.cannot_load(candidate, runtime.label)
                if reason:
                    self._fail(candidate.scheme, FailureKind.FORETOLD, reason, runtime.label)
                else:
                    setting = Setting(runtime=runtime.label, threads=base)
                    self._contenders.append(
                        Contender(scheme=candidate.scheme, digest=candidate.digest, setting=setting)
                    )
        self._baseline_first()
        self._examine(self._contenders)
        self._recall()
        self._settled = self._veterans()

    def _threads(self) -> tuple[int, ...]:
        """Return the numbers of threads to measure with, ascending as they are asked for and each once."""
        count = self._one.facts.cpu_count
        numbers = [count if n == ALL_CORES else min(n, count) for n in self._plan.spec.threads]
        return tuple(dict.fromkeys(numbers))

    def _baseline_first(self) -> None:
        self._contenders.sort(key=lambda c: c.scheme != BASELINE)

    # --- files -----------------------------------------------------------------------------------------------------

    def _bring(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Bring the files that may load under some runtime here; return all but those that could not be brought."""
        there: list[Candidate] = []
        for candidate in candidates:
            labels = [runtime.label for runtime in self._one.runtimes]
            try:
                if not all(self._plan.cannot_load(candidate, label) for label in labels):
                    self._transfer(candidate)
                there.append(candidate)
            except UnreachableError:
                raise
            except HostError as error:
                self._fail(candidate.scheme, FailureKind.TRANSFER, error.reason)
        return there

    def _transfer(self, candidate: Candidate) -> None:
        """Bring one file; as it is and timed where the line is not known well enough yet, even if it is there already, else in the form that is there first."""
        known = self._ends.kept.transfer(self._host, candidate.digest)
        again = known is None and len(self._transfers) < _ENOUGH_TRANSFERS
        forms = () if again else self._forms(candidate)
        content = self._ends.blob(candidate.digest)
        with self._ends.outgoing.transfer(self._host) as sharers:
            sent = self._one.device.put(
                BlobKind.CANDIDATE, candidate.digest, content, timed=again, forms=forms
            )
            timed = Timed(size_bytes=sent.bytes_sent, seconds=sent.seconds, sharers=sharers())
        if known is None and sent.bytes_sent == candidate.size_bytes:
            known = (sent.seconds, sent.bytes_sent)
            self._ends.kept.put_transfer(self._host, candidate.digest, timed)
        if known is not None:
            self._transfers[candidate.digest] = TimedTransfer(
                digest=candidate.digest, bytes=known[1], seconds=known[0]
            )
        if sent.bytes_sent:
            self._ends.emit(
                StepFinished(
                    host=self._host,
                    step=f"transfer {candidate.scheme}",
                    result="changed",
                    detail=f"{sent.bytes_sent} bytes{said(sent.form)}",
                )
            )
        self._there.append(candidate.digest)

    def _forms(self, candidate: Candidate) -> tuple[Encoding, ...]:
        """Return the forms in which a candidate should cross, those that the device has already as bases."""
        device = self._one.device
        return self._ends.crossings.forms(
            self._host, candidate.digest, candidate.size_bytes, self._there, device.round_trip_s
        )

    # --- memory and the fast path ----------------------------------------------------------------------------------

    def _examine(self, contenders: Sequence[Contender]) -> None:
        """Run each contender once in a process of its own; who cannot is out."""
        for kept in self._ends.kept.examinations(self._host, self._context):
            self._examinations[kept.contender] = kept
        missing = [contender for contender in contenders if contender not in self._examinations]
        if not missing:
            return
        replies = self._one.device.examine(
            self._plan.evaluation,
            [(c.digest, self._runtimes[c.setting.runtime], c.setting.threads) for c in missing],
        )
        for contender, reply in zip(missing, replies, strict=True):
            if isinstance(reply, Refusal):
                self._out(contender, FailureKind(reply.kind), reply.reason)
                continue
            examination = Examination(
                contender=contender,
                peak_memory_bytes=reply.peak_memory_bytes,
                pss_bytes=reply.pss_bytes,
                nodes=reply.nodes,
                delegated=reply.delegated,
                partitions=reply.partitions,
                spent_ns=reply.spent_ns,
            )
            self._examinations[contender] = examination
            self._ends.kept.put_examination(self._host, self._context, examination)

    # --- the race --------------------------------------------------------------------------------------------------

    def _recall(self) -> None:
        """Take up what earlier sessions measured in the same circumstances, of the contenders that still are some."""
        wanted = set(self._contenders)
        counts = {self._one.facts.cpu_count, *self._threads()}
        for block in self._ends.kept.blocks(self._host, self._context):
            turns = tuple(turn for turn in block.turns if _wanted(turn.contender, wanted, counts))
            if not turns:
                continue
            self._blocks.append(block)
            outputs = b"" if block.outputs is None else self._ends.blob(block.outputs).read_bytes()
            for contender, reason in judged(block, outputs, self._plan.score, self._answers):
                self._out(contender, FailureKind.RUN, reason)
            for turn in turns:
                if turn.contender not in wanted and not turn.failure:
                    wanted.add(turn.contender)
                    self._contenders.append(turn.contender)

    def _veterans(self) -> frozenset[Contender]:
        """Return those whose race an earlier session ended: newcomers are measured beside the baseline alone."""
        seen = {turn.contender for block in self._valid() for turn in block.turns}
        veterans = [contender for contender in self._contenders if contender in seen]
        if self._contenders[:1] != veterans[:1]:
            return frozenset()
        look = self._plan.judge(self._log(), self._scores(), veterans, ())
        return frozenset(veterans) if look.finished else frozenset()

    def _measure(self, must: Sequence[Contender]) -> None:
        """Hold blocks until nothing more is to be learnt: the race, those who may gain from threads, and the rest of the samples."""
        if must:
            self._finish(must)
            return
        while not self._unreliable:
            look = self._plan.judge(self._log(), self._scores(), self._contenders, self._settled)
            before = len(self._blocks)
            if not look.finished:
                self._hold(behind(look.live, self._contenders[0], self._valid(), self._settled))
                continue
            added = self._with_more_threads(look)
            if added:
                self._examine(added)
                continue
            self._finish(look.live)
            if len(self._blocks) == before:
                return

    def _with_more_threads(self, look: Look) -> list[Contender]:
        """Add those that could still win if threads helped, with the other numbers of threads; return the new ones."""
        added = []
        for threads in self._threads()[1:]:
            for contender in look.more_threads:
                setting = Setting(runtime=contender.setting.runtime, threads=threads)
                wider = replace(contender, setting=setting)
                out = any(
                    f.scheme == wider.scheme and f.runtime == wider.setting.runtime for f in self._failures
                )
                if wider not in self._contenders and not out:
                    added.append(wider)
        self._contenders += added
        return added

    def _finish(self, contenders: Sequence[Contender]) -> None:
        """Run what the contenders have not seen of the evaluation set, the baseline first among them."""
        baseline = self._contenders[0]
        alive = [c for c in dict.fromkeys((baseline, *contenders)) if c in self._contenders]
        incomplete = [c for c in alive if self._answers.missing(c)]
        if incomplete:
            self._hold(list(dict.fromkeys((baseline, *incomplete))), to_the_end=True)

    def _hold(self, participants: Sequence[Contender], *, to_the_end: bool = False) -> None:
        """Hold one block, keep it and what it says; repeat it where it is void, at most so often."""
        for _ in range(MOST_VOID):
            block = self._one_block(participants, to_the_end=to_the_end)
            if not block.void:
                return
            self._ends.emit(Warned(host=self._host, message=f"block {block.number} is void: {block.void}"))
        self._unreliable = f"{MOST_VOID} blocks in a row were void: {self._blocks[-1].void}"

    def _one_block(self, participants: Sequence[Contender], *, to_the_end: bool) -> Block:
        number = self._blocks[-1].number + 1 if self._blocks else 0
        spec = self._plan.spec.measure
        order = compose(participants, self._host, number, spec.seed)
        asked = requests(order, self._runtimes, self._answers, spec, to_the_end=to_the_end)
        reply = self._one.device.bench(
            self._plan.evaluation,
            asked,
            warmup=spec.warmup,
            warmup_s=spec.warmup_s,
            cool_to_c=spec.cool_to_c,
            on_progress=lambda done, total: self._progress(number, done / total),
        )
        turns, outputs = Answers.turns_of(order, asked, reply)
        block = Block(
            number=number,
            seed=spec.seed,
            at=self._ends.now(),
            turns=turns,
            watch=reply.watch,
            outputs=self._ends.put_blob(outputs) if outputs else None,
            void=void_reason(reply.watch, self._first_watch(), self._limits),
        )
        self._ends.kept.put_block(self._host, self._context, block)
        self._blocks.append(block)
        for turn in turns:
            if turn.failure:
                self._out(turn.contender, FailureKind(turn.failure_kind), turn.failure)
        for contender, reason in judged(block, outputs, self._plan.score, self._answers):
            self._out(contender, FailureKind.RUN, reason)
        return block

    def _progress(self, number: int, share: float) -> None:
        most = self._plan.spec.measure.max_blocks
        done = round(100 * min(number + share, most))
        self._ends.emit(Progressed(host=self._host, step="measure", done=done, total=100 * most))

    # --- what there is ---------------------------------------------------------------------------------------------

    def _valid(self) -> list[Block]:
        return [block for block in self._blocks if not block.void]

    def _first_watch(self) -> Watch | None:
        return next((block.watch for block in self._valid()), None)

    def _out(self, contender: Contender, kind: FailureKind, reason: str) -> None:
        if contender in self._contenders:
            self._contenders.remove(contender)
            self._fail(contender.scheme, kind, reason, contender.setting.runtime)

    def _fail(self, scheme: str, kind: FailureKind, reason: str, runtime: str = "") -> None:
        self._failures.append(
            Failure(scheme=scheme, kind=kind, reason=reason, host=self._host, runtime=runtime)
        )

    def _log(self) -> HostLog:
        return HostLog(
            host=self._host,
            facts=self._one.facts,
            runtimes=tuple(self._runtimes),
            blocks=tuple(self._blocks),
            examinations=tuple(self._examinations[c] for c in self._contenders if c in self._examinations),
            transfers=tuple(self._transfers.values()),
            unreliable=self._unreliable,
        )

    def _scores(self) -> tuple[HostScores, ...]:
        return self._answers.scores(self._contenders)


def _wanted(contender: Contender, wanted: set[Contender], threads: set[int]) -> bool:
    """Say whether a contender is one of today's, or one of them with another number of threads that is asked for."""
    if contender in wanted:
        return True
    same = any(
        contender.digest == one.digest
        and contender.setting.runtime == one.setting.runtime
        and contender.scheme == one.scheme
        for one in wanted
    )
    return same and contender.setting.threads in threads


def _context(one: Opened, plan: Plan) -> str:
    """Return the digest of everything that makes measurements of this host comparable with each other."""
    spec, facts = plan.spec.measure, one.facts
    parts = [
        _CONTEXT_FORMAT, plan.evaluation.hex, spec.warmup, spec.warmup_s, spec.inferences, spec.turn_s, spec.max_turn_s,
        facts.architecture, facts.cpu_model, facts.cpu_count, facts.kernel, facts.os, facts.libc, facts.root,
    ]  # fmt: skip
    return Digest.of(json.dumps(parts).encode()).hex
