"""From what the hosts measured to the recorded selection: the sample log, a verdict per scope, and the record that the store keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ota.analysis.race import RaceRules
from ota.analysis.verdict import decide, unfinished
from ota.core.device_class import DeviceClass
from ota.core.inventory import Host
from ota.core.measurement import Contender
from ota.core.objective import Objective
from ota.core.playbook import Play, SelectSpec
from ota.core.release import Digest
from ota.core.samples import HostLog, HostScores, SampleLog
from ota.core.scheme import BASELINE
from ota.core.selection import Confusion, Selection
from ota.core.verdict import Verdict
from ota.errors import NoFeasibleCandidateError, UsageError
from ota.store.known_answer import KnownAnswer
from ota.store.store import Store
from ota.workflows.blocks import Answers, judged, pieces
from ota.workflows.prepare import Prepared
from ota.workflows.select import HostResult, Measured, Score, Unfinished

ALL = "all"
CLASS = "class"

Scopes = tuple[tuple[str, tuple[str, ...]], ...]


def scopes_of(
    hosts: Sequence[Host], classes: Sequence[DeviceClass], spec: SelectSpec, measured: Sequence[str]
) -> Scopes:
    """Return (scope, host names) for each winner that is asked for; of a group, UsageError where none of its hosts was measured."""
    if spec.scope == (ALL,):
        return ((ALL, tuple(host.name for host in hosts)),)
    if spec.scope == (CLASS,):
        return tuple((group.name, group.hosts) for group in classes if set(group.hosts) & set(measured))
    scopes = tuple(
        (group, tuple(host.name for host in hosts if group in host.groups)) for group in spec.scope
    )
    for group, members in scopes:
        if not set(members) & set(measured):
            raise UsageError(f"scope names the group '{group}', and no measured host is in it")
    return scopes


def log_of(hosts: Sequence[Host], spec: SelectSpec, prepared: Prepared, measured: Measured) -> SampleLog:
    """Return everything that the verdicts are computed from.

    Raises:
        NoFeasibleCandidateError: no host could be measured at all.
        UsageError: a group of the scope has no measured host.
    """
    good = [result for result in measured.results if result.error is None and result.log is not None]
    if not good:
        raise NoFeasibleCandidateError(
            "no host could be measured", hint="ota ping shows what each of them says"
        )
    names = [result.host.name for result in good]
    reached = {name for group in measured.classes for name in group.hosts}
    return SampleLog(
        seed=spec.measure.seed,
        candidates=prepared.plan.candidates,
        hosts=tuple(result.log for result in good if result.log is not None),
        classes=_with_measured(measured.classes, names),
        failures=(*prepared.failures, *(failure for result in good for failure in result.failures)),
        scopes=scopes_of([host for host in hosts if host.name in reached], measured.classes, spec, names),
        targets=prepared.targets,
        metric=spec.metric,
        samples=prepared.plan.samples,
        min_blocks=spec.measure.min_blocks,
        max_blocks=spec.measure.max_blocks,
        origins=prepared.origins,
    )


def _with_measured(classes: Sequence[DeviceClass], names: Sequence[str]) -> tuple[DeviceClass, ...]:
    """Return the classes that were measured at all, `measured` being the hosts that really were."""
    return tuple(
        DeviceClass(name=group.name, hosts=group.hosts, measured=there)
        for group in classes
        if (there := tuple(name for name in group.measured if name in names))
    )


def verdicts_of(
    log: SampleLog, scores: Mapping[str, Sequence[HostScores]], objective: Objective
) -> tuple[Verdict, ...]:
    """Return a verdict for each scope of the log: a pure function, the same for the same input."""
    rules = RaceRules(first_look=log.min_blocks, max_blocks=log.max_blocks)
    return tuple(
        decide(log, scores, log.failures, objective, scope=scope, hosts=hosts, seed=log.seed, rules=rules)
        for scope, hosts in log.scopes
    )


def rescored(
    log: SampleLog, blob: Callable[[Digest], bytes], score: Score
) -> dict[str, tuple[HostScores, ...]]:
    """Return per host what every contender answered sample by sample, from the raw outputs of the log's blocks.

    `blob` returns the outputs that a digest stands for.
    """
    return {host.host: _rescored(host, log.samples, blob, score) for host in log.hosts}


def _rescored(
    host: HostLog, samples: int, blob: Callable[[Digest], bytes], score: Score
) -> tuple[HostScores, ...]:
    answers = Answers(samples)
    contenders: dict[Contender, None] = {}
    out: set[Contender] = set()
    for block in host.blocks:
        contenders |= dict.fromkeys(turn.contender for turn in block.turns)
        out |= {turn.contender for turn in block.turns if turn.failure}
        if block.outputs is not None:
            out |= {one for one, _ in judged(block, blob(block.outputs), score, answers)}
    return answers.scores(sorted(contender for contender in contenders if contender not in out))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalists:
    """Says who must be measured to the end before the fleet's decision stands; what `measure_fleet` asks between its rounds."""

    hosts: Sequence[Host]
    spec: SelectSpec
    prepared: Callable[[], Prepared]

    def __call__(self, results: Sequence[HostResult], classes: Sequence[DeviceClass]) -> Unfinished:
        """Return per host the contenders that could still be first and were not measured to the end."""
        measured = Measured(results=tuple(results), classes=tuple(classes))
        log = log_of(self.hosts, self.spec, self.prepared(), measured)
        todo: dict[str, list[Contender]] = {}
        for verdict in verdicts_of(log, {r.host.name: r.scores for r in results}, self.spec.objective):
            for host, contender in unfinished(verdict):
                todo.setdefault(host, []).append(contender)
        return {host: tuple(dict.fromkeys(contenders)) for host, contenders in todo.items()}


def choose(
    play: Play,
    spec: SelectSpec,
    prepared: Prepared,
    log: SampleLog,
    verdicts: Sequence[Verdict],
    store: Store,
    *,
    at: datetime,
) -> Selection:
    """Return the selection, and keep it with its log and with what the candidates answered to the probe samples."""
    stamp = at.strftime("%Y%m%d-%H%M%S")
    kept = store.put_log(log)
    selection = Selection(
        id=f"{stamp}-{Digest.of(repr((prepared.inputs, kept)).encode()).hex[:6]}",
        created=at.isoformat(timespec="seconds"),
        play=play.name,
        model=play.model.name,
        objective=spec.objective,
        inputs=prepared.inputs,
        facts=tuple((host.host, host.facts) for host in log.hosts),
        verdicts=tuple(verdicts),
        log=kept,
        changes=prepared.changes,
        confusions=_confusions(verdicts, log, prepared, store),
    )
    store.save_selection(selection)
    _remember(selection, log, prepared, store)
    return selection


def _confusions(
    verdicts: Sequence[Verdict], log: SampleLog, prepared: Prepared, store: Store
) -> tuple[Confusion, ...]:
    """Return the confusions of the baseline and of the proposed candidates, on the first host of each scope that ran them on every sample."""
    if prepared.confuse is None:
        return ()
    found: list[Confusion] = []
    for verdict in verdicts:
        schemes = [BASELINE, *([verdict.winner.scheme] if verdict.winner else [])]
        measured = [name for group in verdict.classes for name in group.measured if name in verdict.hosts]
        for host in log.hosts:
            if host.host != next(iter(measured), None):
                continue
            whole = _whole_outputs(host, log.samples, store)
            for contender in sorted(whole):
                if contender.scheme in schemes:
                    schemes.remove(contender.scheme)
                    counts = prepared.confuse(whole[contender], log.samples)
                    found.append(
                        Confusion(
                            host=host.host, scheme=contender.scheme, labels=prepared.labels, counts=counts
                        )
                    )
    return tuple(dict.fromkeys(found))


def _whole_outputs(host: HostLog, samples: int, store: Store) -> dict[Contender, bytes]:
    """Return the outputs of the contenders that ran on every evaluation sample, in the samples' order."""
    held: dict[Contender, dict[int, bytes]] = {}
    for block in host.blocks:
        if block.outputs is None:
            continue
        content = store.blob(block.outputs).read_bytes()
        for turn, piece in pieces(block, content):
            width = len(piece) // turn.kept
            for index in range(turn.kept):
                sample = (turn.first + index) % samples
                answer = piece[index * width : (index + 1) * width]
                held.setdefault(turn.contender, {}).setdefault(sample, answer)
    return {
        contender: b"".join(answers[sample] for sample in range(samples))
        for contender, answers in held.items()
        if len(answers) == samples
    }


def _remember(selection: Selection, log: SampleLog, prepared: Prepared, store: Store) -> None:
    """Keep of every contender that ran on every sample its answers to the probe samples, for deployments to compare with."""
    for host in log.hosts:
        for contender, outputs in _whole_outputs(host, log.samples, store).items():
            size = len(outputs) // log.samples
            answers = b"".join(outputs[index * size : (index + 1) * size] for index in prepared.probe_indexes)
            store.put_answer(
                contender.digest,
                KnownAnswer(
                    host=host.host,
                    runtime=contender.setting.runtime,
                    probe=selection.inputs.probe,
                    outputs=store.put_blob(answers),
                ),
            )
