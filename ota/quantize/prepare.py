"""From a play's model and data to what devices measure: the one call that a selection makes here.

Everything that can be wrong is found before the slow part: missing files at once, faults of the data as soon as the float32 baseline says
what the network takes, and only then are the other schemes converted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ota.core.events import Warned
from ota.core.measurement import Failure
from ota.core.metric import Metric, metric_named
from ota.core.playbook import SelectSpec
from ota.core.scheme import Scheme, SourceKind
from ota.errors import ContentError, Fault
from ota.quantize.blob import encode
from ota.quantize.convert import Cache, CandidateFile, Conversion, Converter, Emit
from ota.quantize.dataset import Dataset, overlap, probe
from ota.quantize.flatbuffer import Network, read_network
from ota.quantize.load import check_present, load, load_representative
from ota.quantize.source import ModelSource, offered, recognise

_BLOB_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What a selection starts from: the candidates' files, a failure for every scheme without one, and the data.

    `evaluation_blob` and `probe_blob` are files in the form in which devices take them.
    """

    source: ModelSource
    network: Network
    files: tuple[CandidateFile, ...]
    failures: tuple[Failure, ...]
    evaluation: Dataset
    evaluation_blob: Path
    probe: Dataset
    probe_blob: Path
    representative: Dataset | None


def prepare(
    model: Path,
    spec: SelectSpec,
    *,
    cache: Cache,
    emit: Emit,
    labels: Sequence[str] = (),
    jobs: int | None = None,
) -> Prepared:
    """Recognise `model`, check the data of `spec` against it and convert it under the schemes asked for.

    Raises:
        MissingFileError: the model or the data is not there.
        ContentError: the model is none, or the data does not fit it; every fault found.
        UsageError: TensorFlow is not installed, and is needed.
    """
    source = recognise(model)
    metric = metric_named(spec.metric)
    check_present(spec.evaluation)
    if spec.representative is not None:
        check_present(spec.representative)
    offer = offered(source, spec.schemes, representative=spec.representative is not None)
    first, rest = offer.schemes[0], offer.schemes[1:]
    with Converter(source, cache=cache, emit=emit, jobs=jobs) as converter:
        baseline = converter.convert((first,), ahead=len(rest))[0]
        network = _network(source, baseline)
        evaluation, representative = _data(source, spec, network, metric, labels, offer.schemes)
        _warn(evaluation, representative, emit)
        with ThreadPoolExecutor(max_workers=1) as encoding:
            # Compression takes seconds and lets other threads run: it goes on while the children convert.
            blob = encoding.submit(encoded, evaluation, cache)
            conversions = (baseline, *converter.convert(rest, representative))
            few = probe(evaluation)
            return Prepared(
                source=source,
                network=network,
                files=tuple(c for c in conversions if isinstance(c, CandidateFile)),
                failures=(*offer.failures, *(c for c in conversions if isinstance(c, Failure))),
                evaluation=evaluation,
                evaluation_blob=blob.result(),
                probe=few,
                probe_blob=encoded(few, cache),
                representative=representative,
            )


def encoded(dataset: Dataset, cache: Cache) -> Path:
    """Return the file of `dataset`'s blob, encoded once and kept by the dataset's digest."""
    key = f"blob-{_BLOB_FORMAT}-{dataset.digest.hex}"
    return cache.get(key) or cache.put(key, encode(dataset))


def _network(source: ModelSource, baseline: Conversion) -> Network:
    """Return what the float32 file says of the network, if it can be measured at all."""
    path = str(source.path)
    if isinstance(baseline, Failure):
        raise ContentError(
            Fault(file=path, problem=f"no float32 baseline can be made of it: {baseline.reason}")
        )
    network = source.network or read_network(baseline.path.read_bytes())
    problem = ""
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        problem = f"expected 1 input and 1 output, found {len(network.inputs)} and {len(network.outputs)}"
    elif network.inputs[0].type not in {"float32", "uint8", "int8", "int16"}:
        problem = f"expected an input of float32, found {network.inputs[0]}"
    elif network.inputs[0].shape[:1] != (1,):
        problem = f"expected an input with a batch of 1, found {network.inputs[0]}"
    if problem:
        raise ContentError(Fault(file=path, problem=f"the network cannot be used: {problem}"))
    return network


def _data(
    source: ModelSource,
    spec: SelectSpec,
    network: Network,
    metric: Metric,
    labels: Sequence[str],
    schemes: Sequence[Scheme],
) -> tuple[Dataset, Dataset | None]:
    """Load both data sets; the faults of both are reported together."""
    faults: list[Fault] = []
    evaluation = _collect(
        faults, lambda: load(spec.evaluation, spec.preprocessing, network, metric, labels=labels)
    )
    representative = None
    wanted = spec.representative
    if wanted is not None and source.kind is not SourceKind.TFLITE and any(s.representative for s in schemes):
        representative = _collect(faults, lambda: load_representative(wanted, spec.preprocessing, network))
    if faults or evaluation is None:
        raise ContentError(*faults)
    return evaluation, representative


def _collect(faults: list[Fault], loaded: Callable[[], Dataset]) -> Dataset | None:
    try:
        return loaded()
    except ContentError as error:
        faults += [fault for fault in error.faults if fault not in faults]
        return None


def _warn(evaluation: Dataset, representative: Dataset | None, emit: Emit) -> None:
    for note in evaluation.notes:
        emit(Warned(message=note))
    if representative is not None:
        shared = overlap(representative, evaluation)
        if shared:
            emit(
                Warned(
                    message=f"{shared} of {len(representative)} representative samples are in the evaluation set too: "
                    "the accuracy of the calibrated schemes is flattered"
                )
            )
