"""The one door to a play's data: a folder of images or an .npz, checked against the network and the metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ota.core.metric import Metric, metric_named
from ota.core.playbook import DataSpec, Preprocessing, SelectSpec
from ota.errors import ContentError, Fault, MissingFileError
from ota.quantize.arrays import load_arrays
from ota.quantize.dataset import Dataset
from ota.quantize.flatbuffer import Network
from ota.quantize.images import load_images


def check_present(spec: DataSpec) -> None:
    """Raise MissingFileError where the data is not there: asked before anything slow begins."""
    path = Path(spec.path)
    if not path.exists():
        raise MissingFileError(
            "the data is not there", where=str(path), expected="a folder of images per class or an .npz"
        )


def load(
    spec: DataSpec,
    preprocessing: Preprocessing,
    network: Network,
    metric: Metric,
    *,
    labels: Sequence[str] = (),
) -> Dataset:
    """Return the evaluation set of `spec` for `network`, with targets that `metric` can compare with.

    `labels` give the order of the classes of a folder of images (empty: by name).

    Raises:
        MissingFileError: it is not there.
        ContentError: it is empty, damaged, or does not fit the network or the metric; every fault found.
    """
    check_present(spec)
    _check_preprocessing(spec, preprocessing, network)
    path = Path(spec.path)
    if not path.is_dir():
        return load_arrays(
            spec,
            preprocessing,
            network.sample_shape,
            classification=metric.classification,
            outputs=network.output_count,
        )
    if not metric.classification:
        raise ContentError(
            Fault(
                file=str(path),
                problem=f"a folder of images has classes and no numbers, which {metric.name} compares with",
                hint="use an .npz with x and y, or metric: accuracy",
            )
        )
    outputs = network.output_count
    dataset = load_images(spec, preprocessing, network.sample_shape, labels=labels, most=max(2, outputs))
    return replace(dataset, notes=_notes(path, dataset, labels, outputs))


def load_representative(spec: DataSpec, preprocessing: Preprocessing, network: Network) -> Dataset:
    """Return the representative dataset of `spec`: samples without targets; images need no classes, an .npz no y.

    Raises:
        MissingFileError: it is not there.
        ContentError: it is empty, damaged, or does not fit the network.
    """
    check_present(spec)
    _check_preprocessing(spec, preprocessing, network)
    if Path(spec.path).is_dir():
        return load_images(spec, preprocessing, network.sample_shape, labelled=False)
    return load_arrays(
        spec, preprocessing, network.sample_shape, classification=False, outputs=0, labelled=False
    )


def load_both(
    spec: SelectSpec, network: Network, *, labels: Sequence[str] = (), calibrated: bool = True
) -> tuple[Dataset, Dataset | None]:
    """Return the evaluation set and the representative dataset of `spec`, the latter None where it names none or nothing is `calibrated`.

    Raises:
        MissingFileError: one of them is not there.
        ContentError: with the faults of both.
    """
    faults: list[Fault] = []
    loaded: list[Dataset] = []
    metric = metric_named(spec.metric)
    wanted: list[Callable[[], Dataset]] = [
        lambda: load(spec.evaluation, spec.preprocessing, network, metric, labels=labels)
    ]
    data = spec.representative
    if data is not None and calibrated:
        wanted.append(lambda: load_representative(data, spec.preprocessing, network))
    for one in wanted:
        try:
            loaded.append(one())
        except ContentError as error:
            faults += [fault for fault in error.faults if fault not in faults]
    if faults:
        raise ContentError(*faults)
    return loaded[0], loaded[1] if len(loaded) > 1 else None


def _check_preprocessing(spec: DataSpec, preprocessing: Preprocessing, network: Network) -> None:
    last = network.sample_shape[-1] if network.sample_shape else 1
    faults = [
        Fault(
            file=str(spec.path),
            problem=f"preprocessing {name} has {len(values)} values: expected 1 or {last}, one for each channel of the network",
        )
        for name, values in (("scale", preprocessing.scale), ("offset", preprocessing.offset))
        if len(values) not in {1, last}
    ]
    if faults:
        raise ContentError(*faults)


def _notes(path: Path, dataset: Dataset, labels: Sequence[str], outputs: int) -> tuple[str, ...]:
    """Return what a person should know: classes without a sample, and numbers that only the folders' names give."""
    if labels:
        absent = [name for number, name in enumerate(dataset.labels) if number not in dataset.targets]
        return (f"{path}: no image of {', '.join(absent)}",) if absent else ()
    if len(dataset.labels) == max(2, outputs):
        return ()
    return (
        f"{path}: {len(dataset.labels)} classes for a network with {outputs} outputs; they are numbered from 0 in this order: "
        + ", ".join(dataset.labels),
    )
