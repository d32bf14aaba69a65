"""Prepare a selection on the controller: the model under every scheme, the data in the form that travels.

Invariant: everything that can be wrong with files is found before a device's time is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from ota import __version__
from ota.analysis.metrics import evaluate
from ota.core.events import Event, Warned
from ota.core.measurement import Candidate, Failure
from ota.core.playbook import Play, SelectSpec
from ota.core.release import Digest
from ota.core.selection import Inputs
from ota.quantize.blob import encoded
from ota.quantize.cache import Cache
from ota.quantize.convert import Conversion, Converter, converter_version, network_of
from ota.quantize.dataset import Dataset, classes_of, overlap, probe, spread
from ota.quantize.load import check_present, load_both
from ota.quantize.source import Offer, offered, recognise
from ota.workflows.select import Plan

PROBE_SAMPLES = 8
"""How many evaluation samples a deployment is checked with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is measured (`plan`), what cannot be (`failures`), and what it was made from (`inputs`).

    `probe_indexes` are the places of the probe's samples in the evaluation set.
    """

    plan: Plan
    failures: tuple[Failure, ...]
    inputs: Inputs
    probe_indexes: tuple[int, ...]


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
    with Converter(source, cache=cache, emit=emit) as converter:
        first = converter.convert(offer.schemes[:1], ahead=len(offer.schemes) - 1)
        network = network_of(source, first[0])
        calibrated = any(scheme.representative for scheme in offer.schemes)
        evaluation, representative = load_both(spec, network, labels=_labels(play), calibrated=calibrated)
        if representative is not None:
            _warn_of_overlap(representative, evaluation, emit)
        rest = converter.convert(offer.schemes[1:], representative)
    for note in evaluation.notes:
        emit(Warned(message=note))
    return _prepared(spec, source.digest, (*first, *rest), offer, evaluation, representative, keep, cache)


def _labels(play: Play) -> tuple[str, ...]:
    """Return the class names of a `labels.txt` artifact, in the order of the network's outputs; empty where there is none."""
    for name, path in play.model.artifacts:
        if name == "labels.txt":
            return tuple(
                line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()
            )
    return ()


def _warn_of_overlap(representative: Dataset, evaluation: Dataset, emit: Callable[[Event], None]) -> None:
    shared = overlap(representative, evaluation)
    if shared:
        emit(
            Warned(
                message=f"{shared} of {len(representative)} representative samples are in the evaluation set too: "
                "what is measured on them flatters the schemes that calibrate"
            )
        )


def _prepared(
    spec: SelectSpec,
    model: Digest,
    conversions: Sequence[Conversion],
    offer: Offer,
    evaluation: Dataset,
    representative: Dataset | None,
    keep: Callable[[bytes], Digest],
    cache: Cache,
) -> Prepared:
    candidates: list[Candidate] = []
    failures = list(offer.failures)
    for conversion in conversions:
        if isinstance(conversion, Failure):
            failures.append(conversion)
        else:
            keep(conversion.path.read_bytes())
            candidates.append(conversion.candidate)
    indexes = spread(classes_of(evaluation.targets, len(evaluation)), PROBE_SAMPLES)
    blob = keep(encoded(evaluation, cache).read_bytes())
    names = (spec.metric,)
    plan = Plan(
        candidates=tuple(candidates),
        evaluation=blob,
        samples=len(evaluation),
        spec=spec,
        evaluate=partial(evaluate, names=names, targets=evaluation.targets),
    )
    inputs = Inputs(
        model=model,
        evaluation=blob,
        probe=keep(encoded(probe(evaluation, PROBE_SAMPLES), cache).read_bytes()),
        representative=None if representative is None else representative.digest,
        metric=spec.metric,
        samples=len(evaluation),
        versions=_versions(),
    )
    return Prepared(plan=plan, failures=tuple(failures), inputs=inputs, probe_indexes=indexes)


def _versions() -> tuple[tuple[str, str], ...]:
    return (
        ("ota", __version__),
        ("tensorflow", converter_version()),
        *((name, metadata.version(name)) for name in ("numpy", "pillow")),
    )
