"""Representative and evaluation samples: loaded, checked, thinned out, digested and compared.

Invariant: samples are kept in the smallest type that holds them exactly (pixels stay bytes); a network's input is always
`float32(sample) * float32(scale) + float32(offset)`, on the controller and on the devices alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ota.core.release import Digest
from ota.errors import ContentError, Fault

Samples = NDArray[Any]
"""[N, ...], uint8, int8, int16 or float32."""

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Samples and what a network should answer to them.

    `targets` are class numbers int64 [N], or float32 [N, K] for a regression; K is 0 where nobody asks (representative data).
    `labels` name the classes of a folder of images; `names` name the samples where they were files, empty otherwise; `notes` are what a person should know about the data.
    """

    samples: Samples
    targets: NDArray[Any]
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.samples.shape[0])

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample, without the batch."""
        return tuple(int(size) for size in self.samples.shape[1:])

    def inputs(self) -> Iterator[NDArray[np.float32]]:
        """Yield each sample as the network's input, float32 [1, ...]."""
        scale, offset = (np.asarray(numbers, np.float32) for numbers in (self.scale, self.offset))
        for index in range(len(self)):
            yield self.samples[index : index + 1].astype(np.float32) * scale + offset

    @property
    def digest(self) -> Digest:
        """The digest of what a network sees: samples with type and shape, scale and offset; labels and targets do not count."""
        hashed = sha256(repr((self.samples.dtype.str, self.samples.shape, self.scale, self.offset)).encode())
        hashed.update(np.ascontiguousarray(self.samples).data)
        return Digest(hashed.hexdigest())


def smallest_form(values: NDArray[Any]) -> Samples:
    """Return `values` in the smallest of uint8, int8, int16 and float32 that holds them; floats are rounded to float32 first.

    Raises:
        ValueError: they are no numbers, not finite, or whole numbers too large for float32; the message is one clause.
    """
    if values.dtype.kind not in "fiub":
        raise ValueError(f"holds {values.dtype}, which are no numbers")
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError("holds NaN or infinite values")
    if values.dtype.kind in "iu" and not np.array_equal(numbers.astype(np.float64), values):
        raise ValueError("holds whole numbers that float32 cannot tell apart")
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)
    for kind in (np.uint8, np.int8, np.int16):
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max and np.array_equal(np.rint(numbers), numbers):
            return numbers.astype(kind)
    return numbers


def spread(classes: Sequence[int], limit: int) -> tuple[int, ...]:
    """Return the indexes of `limit` samples, evenly over the classes and evenly within each; all where there are no more.

    The same input gives the same indexes, in ascending order; a class with too few samples leaves its share to the others.
    """
    members: dict[int, list[int]] = {}
    for index, number in enumerate(classes):
        members.setdefault(number, []).append(index)
    chosen: list[int] = []
    left = limit
    by_size = sorted(members.values(), key=len)
    for position, indexes in enumerate(by_size):
        share = min(len(indexes), left // (len(by_size) - position))
        chosen += [indexes[step * len(indexes) // share] for step in range(share)]
        left -= share
    return tuple(sorted(chosen))


def take(dataset: Dataset, indexes: Sequence[int]) -> Dataset:
    """Return the samples at `indexes` as a dataset of its own."""
    chosen = list(indexes)
    return replace(
        dataset,
        samples=dataset.samples[chosen],
        targets=dataset.targets[chosen],
        names=tuple(dataset.names[index] for index in chosen) if dataset.names else (),
    )


def probe(dataset: Dataset, count: int = 8) -> Dataset:
    """Return `count` samples spread over the classes: what a deployment is checked with."""
    return take(dataset, spread(classes_of(dataset.targets, len(dataset)), count))


def no_targets(count: int) -> NDArray[np.float32]:
    """Return the targets of `count` samples that nobody asks about, float32 [count, 0]."""
    return np.zeros((count, 0), np.float32)


def classes_of(targets: NDArray[Any], count: int) -> tuple[int, ...]:
    """Return the class number of each sample; one class for all where targets are no classes."""
    if targets.dtype.kind != "i":
        return (0,) * count
    return tuple(int(target) for target in targets)


def overlap(one: Dataset, other: Dataset) -> tuple[tuple[int, int], ...]:
    """Return (place in `one`, place in `other`) of each sample of `one` that is in `other` too, by content: what a network is given."""
    places: dict[bytes, int] = {}
    for place, content in enumerate(_contents(other)):
        places.setdefault(content, place)
    found = ((place, places.get(content)) for place, content in enumerate(_contents(one)))
    return tuple((place, there) for place, there in found if there is not None)


def check_overlap(representative: Dataset, evaluation: Dataset, *, forced: bool = False) -> tuple[str, ...]:
    """Return notes for a person; no sample may be both in the representative dataset and in the evaluation set, unless it is `forced`.

    Raises:
        ContentError: some are in both, and it is not forced; says how many and which.
    """
    shared = overlap(representative, evaluation)
    if not shared:
        return ()
    which = [f"{_called(representative, one)} is {_called(evaluation, other)}" for one, other in shared]
    more = f" and {len(which) - _MOST_NAMED} more" if len(which) > _MOST_NAMED else ""
    problem = (
        f"{len(shared)} of {len(representative)} representative samples are in the evaluation set too: "
        f"{', '.join(which[:_MOST_NAMED])}{more}; what is measured on them flatters the schemes that calibrate"
    )
    if forced:
        return (problem,)
    hint = "take them out of one of the two, or set allow_overlap: true"
    raise ContentError(Fault(file="representative", problem=problem, hint=hint))


def _called(dataset: Dataset, place: int) -> str:
    return dataset.names[place] if dataset.names else f"sample {place}"


def _contents(dataset: Dataset) -> Iterator[bytes]:
    """Yield a digest of each sample as the network's input; -0.0 counts as 0.0."""
    for sample in dataset.inputs():
        yield sha256((sample + np.float32(0)).tobytes()).digest()
