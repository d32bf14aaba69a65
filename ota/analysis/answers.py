"""What a device's raw outputs are worth, sample by sample; the targets in the form in which they are kept for a replay."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ota.analysis.metrics import per_sample

_MOST_OUTPUTS = 1 << 28

Targets = NDArray[Any]
"""Class numbers int64 [N], or float32 [N, K] for a regression."""


def kept_targets(targets: Targets) -> bytes:
    """Return targets as bytes; equal targets are equal bytes."""
    file = io.BytesIO()
    np.save(file, targets, allow_pickle=False)
    return file.getvalue()


def scorer(
    metric: str, targets: bytes
) -> Callable[[bytes, tuple[int, ...], Sequence[int]], tuple[float, ...]]:
    """Return a function that gives each of a contender's answers its number under `metric`; `targets` are of all samples, as kept.

    It takes float32 outputs, their shape [n, ...] and the n samples' numbers. Raises ValueError, in words, for outputs that are no answers.
    """
    return partial(_scored, metric, read_targets(targets))


def read_targets(content: bytes) -> Targets:
    """Return targets from their kept bytes; ValueError where these are none."""
    targets: Targets = np.load(io.BytesIO(content), allow_pickle=False)
    return targets


def confused(targets: Targets, outputs: bytes, count: int) -> tuple[tuple[int, ...], ...]:
    """Return how often each class (row) was taken for each (column): float32 outputs of `count` samples, int64 targets [count]."""
    table = _table(outputs, (count, len(outputs) // (4 * count)))
    answered = (table[:, 0] >= 0.5).astype(np.int64) if table.shape[1] == 1 else table.argmax(axis=1)
    classes = max(2, table.shape[1], int(targets.max()) + 1)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (targets, answered), 1)
    return tuple(tuple(int(number) for number in row) for row in counts)


def _scored(
    metric: str, targets: Targets, outputs: bytes, shape: tuple[int, ...], samples: Sequence[int]
) -> tuple[float, ...]:
    return tuple(per_sample(metric, _table(outputs, shape), targets[list(samples)]).tolist())


def _table(outputs: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    count = shape[0] if shape else 0
    size = int(np.prod(shape, dtype=np.int64)) if shape else 0
    if count < 1 or size > _MOST_OUTPUTS or len(outputs) != 4 * size:
        raise ValueError(f"expected float32 outputs of shape {list(shape)}, found {len(outputs)} bytes")
    return np.frombuffer(outputs, "<f4").astype(np.float32, copy=False).reshape(count, -1)
