"""Prepare a selection on the controller: the model under every scheme, the data in the form that travels.

Invariant: everything that can be wrong with files is found before a device's time is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from ota import __version__
from ota.analysis.answers import confused, kept_targets, scorer
from ota.core.events import Event, Warned
from ota.core.graph import Graph
from ota.core.graph_difference import differences, sentences
from ota.core.measurement import Candidate, Failure
from ota.core.metric import metric_named
from ota.core.operators import Loads, loads
from ota.core.playbook import Play, SelectSpec
from ota.core.release import Digest
from ota.core.samples import Origin
from ota.core.scheme import BASELINE, Scheme, scheme_named
from ota.core.selection import Inputs
from ota.quantize.blob import encoded
from ota.quantize.cache import Cache
from ota.quantize.convert import Conversion, Converter, network_of
from ota.quantize.dataset import Dataset, check_overlap, classes_of, probe, spread
from ota.quantize.graph import read_graph
from ota.quantize.keys import converter_version
from ota.quantize.load import check_present, load_both
from ota.quantize.origin import origin_of
from ota.quantize.source import ModelSource, offered, recognise
from ota.workflows.judging import Judging
from ota.workflows.select import Plan

Confuse = Callable[[bytes, int], "tuple[tuple[int, ...], ...]"]
"""Counts how often each class was taken for each, from float32 outputs of so many samples, all of the evaluation set in order."""

PROBE_SAMPLES = 8
"""How many evaluation samples a deployment is checked with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is measured (`plan`), what cannot be (`failures`), and what it was made from (`inputs`).

    `probe_indexes` are the places of the probe's samples in the evaluation set, `targets` is the digest of what the network should answer, `labels` name
    the classes. `changes` are (scheme, sentences) pairs: what each scheme changed in the graph. `confuse` is None for a regression. `origins` say how each
    file was made.
    """

    plan: Plan
    failures: tuple[Failure, ...]
    inputs: Inputs
    probe_indexes: tuple[int, ...]
    targets: Digest
    labels: tuple[str, ...]
    changes: tuple[tuple[str, tuple[str, ...]], ...]
    confuse: Confuse | None
    origins: tuple[Origin, ...] = ()


def prepare(
    play: Play,
    spec: SelectSpec,
    *,
    cache: Cache,
    keep: Callable[[bytes], Digest],
    emit: Callable[[Event], None],
) -> Prepared:
    """Return what a selection of `play` measures; `keep` stores a blob on the controller.

    Raises:
        MissingFileError: the model or the data is not there.
        ContentError: one of them is not what it should be, or the two do not fit each other.
    """
    source = recognise(Path(play.model.source))
    for data in (spec.evaluation, spec.representative):
        if data is not None:
            check_present(data)
    offer = offered(source, spec.schemes, representative=spec.representative is not None)
    made, evaluation, representative = _made(play, spec, source, offer.schemes, cache=cache, emit=emit)
    for content in made.files.values():
        keep(content)
    targets = kept_targets(evaluation.targets)
    inputs = Inputs(
        model=source.digest,
        evaluation=keep(encoded(evaluation, cache).read_bytes()),
        probe=keep(encoded(probe(evaluation, PROBE_SAMPLES), cache).read_bytes()),
        representative=None if representative is None else representative.digest,
        metric=spec.metric,
        samples=len(evaluation),
        versions=_versions(),
    )
    return Prepared(
        plan=Plan(
            candidates=made.candidates,
            evaluation=inputs.evaluation,
            samples=len(evaluation),
            spec=spec,
            score=scorer(spec.metric, targets),
            cannot_load=_Foretold(made),
            judge=Judging(spec=spec, candidates=made.candidates, samples=len(evaluation)),
        ),
        failures=(*offer.failures, *made.failures),
        inputs=inputs,
        probe_indexes=spread(classes_of(evaluation.targets, len(evaluation)), PROBE_SAMPLES),
        targets=keep(targets),
        labels=evaluation.labels,
        changes=_changes(made),
        confuse=partial(confused, evaluation.targets) if metric_named(spec.metric).classification else None,
        origins=tuple(origin_of(scheme, graph, source.kind) for scheme, graph in made.graphs.items()),
    )


def _made(
    play: Play,
    spec: SelectSpec,
    source: ModelSource,
    schemes: Sequence[Scheme],
    *,
    cache: Cache,
    emit: Callable[[Event], None],
) -> tuple[_Made, Dataset, Dataset | None]:
    """Return the files of all schemes, the evaluation and the representative data; raises what `prepare` raises."""
    with Converter(source, cache=cache, emit=emit) as converter:
        first = converter.convert(schemes[:1], ahead=schemes[1:])
        network = network_of(source, first[0])
        calibrated = any(scheme.representative for scheme in schemes)
        evaluation, representative = load_both(spec, network, labels=_labels(play), calibrated=calibrated)
        notes = evaluation.notes
        if representative is not None:
            notes = (*check_overlap(representative, evaluation, forced=spec.allow_overlap), *notes)
        rest = converter.convert(schemes[1:], representative)
    for note in notes:
        emit(Warned(message=note))
    return _Made.of((*first, *rest)), evaluation, representative


def _labels(play: Play) -> tuple[str, ...]:
    """Return the class names of a `labels.txt` artifact, in the order of the network's outputs; empty where there is none."""
    for name, path in play.model.artifacts:
        if name == "labels.txt":
            return tuple(
                line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()
            )
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """The files that were made: by scheme their bytes and graphs; and why others were not."""

    candidates: tuple[Candidate, ...]
    failures: tuple[Failure, ...]
    files: Mapping[str, bytes]
    graphs: Mapping[str, Graph]

    @classmethod
    def of(cls, conversions: Sequence[Conversion]) -> _Made:
        good = [conversion for conversion in conversions if not isinstance(conversion, Failure)]
        files = {conversion.candidate.scheme: conversion.path.read_bytes() for conversion in good}
        return cls(
            candidates=tuple(conversion.candidate for conversion in good),
            failures=tuple(conversion for conversion in conversions if isinstance(conversion, Failure)),
            files=files,
            graphs={scheme: read_graph(content) for scheme, content in files.items()},
        )


class _Foretold:
    """Says why a file cannot load under a runtime, and which lower form of it can."""

    def __init__(self, made: _Made) -> None:
        self._made = made

    def __call__(self, candidate: Candidate, runtime: str) -> str:
        prediction = loads(self._made.graphs[candidate.scheme], runtime)
        if prediction.verdict is not Loads.DOES_NOT_LOAD:
            return ""
        lower = scheme_named(candidate.scheme).lower_form
        graph = self._made.graphs.get(lower)
        if graph is not None and loads(graph, runtime).verdict is not Loads.DOES_NOT_LOAD:
            return f"{prediction.reason}; {lower} is its lower form and loads there"
        return prediction.reason


def _changes(made: _Made) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Say in short sentences what each scheme's file has otherwise than the baseline's."""
    base = made.files.get(BASELINE)
    if base is None:
        return ()
    before = read_graph(base)
    return tuple(
        (scheme, sentences(differences(before, read_graph(content))))
        for scheme, content in made.files.items()
        if scheme != BASELINE
    )


def _versions() -> tuple[tuple[str, str], ...]:
    names = ("numpy", "pillow", "scipy", "litert-quantizer", "ai-edge-litert")
    return (
        ("ota", __version__),
        ("tensorflow", converter_version()),
        *((name, metadata.version(name)) for name in names),
    )
