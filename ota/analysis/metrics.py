"""Metrics over an evaluation set, from a device's raw outputs; METRICS in `ota.core.metric` names them.

Invariant: outputs that are not finite numbers, or too few or many, are a ValueError in words, never a figure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ota.core.metric import metric_named

Outputs = NDArray[np.float32]
"""[N, K]: K numbers for each of N samples."""


def compute(name: str, outputs: Outputs, targets: NDArray[Any]) -> float:
    """Return the metric `name` of `outputs` [N, K] against class numbers int [N] or numbers float [N, K].

    A network with one output (K = 1) has two classes: 1 where the output is at least 0.5.

    Raises:
        KeyError: there is no such metric.
        ValueError: the outputs do not fit the targets or are not finite.
    """
    return float(np.mean(per_sample(name, outputs, targets)))


def per_sample(name: str, outputs: Outputs, targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return one number for each sample [N], whose mean is the metric: 1.0 or 0.0 for right or wrong, or the sample's mean error over its K numbers.

    Arguments and errors are those of `compute`.
    """
    metric = metric_named(name)
    _check(outputs, targets, classification=metric.classification)
    if metric.classification:
        first = 1 if name == "accuracy" else int(name.removeprefix("top_"))
        return _within(first, outputs, targets).astype(np.float64)
    errors = outputs.astype(np.float64) - targets.astype(np.float64)
    means: NDArray[np.float64] = np.mean(errors**2 if name == "mse" else np.abs(errors), axis=1)
    return means


def evaluate(
    outputs: bytes, shape: tuple[int, ...], *, names: tuple[str, ...], targets: NDArray[Any]
) -> tuple[tuple[str, float], ...]:
    """Return (name, value) for each of `names` from a device's answer: little-endian float32 `outputs` of `shape` [N, ...].

    Raises:
        ValueError: the answer is not of that shape, does not fit the targets or is not finite.
    """
    count = shape[0] if shape else 0
    if count < 1 or len(outputs) != 4 * int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"expected float32 outputs of shape {list(shape)}, found {len(outputs)} bytes")
    table = np.frombuffer(outputs, "<f4").astype(np.float32, copy=False).reshape(count, -1)
    return tuple((name, compute(name, table, targets)) for name in names)


def _check(outputs: Outputs, targets: NDArray[Any], *, classification: bool) -> None:
    if outputs.ndim != 2 or outputs.shape[1] == 0:
        raise ValueError(f"expected outputs [samples, numbers], found {list(outputs.shape)}")
    if len(targets) == 0 or len(outputs) != len(targets):
        raise ValueError(f"expected {len(targets)} outputs, one for each sample, found {len(outputs)}")
    if not np.isfinite(outputs).all():
        bad = int((~np.isfinite(outputs)).any(axis=1).sum())
        raise ValueError(f"the outputs of {bad} of {len(outputs)} samples are NaN or infinite")
    classes = max(2, outputs.shape[1])
    if classification and (targets.ndim != 1 or targets.min() < 0 or targets.max() >= classes):
        raise ValueError(f"expected class numbers from 0 to {classes - 1}, as many as the network knows")
    if not classification and targets.shape != outputs.shape:
        raise ValueError(f"expected targets {list(outputs.shape)}, found {list(targets.shape)}")


def _within(first: int, outputs: Outputs, targets: NDArray[Any]) -> NDArray[np.bool_]:
    """Say for each sample whether its class is among the `first`; of equal outputs the lower class number comes first."""
    if outputs.shape[1] == 1:
        answers: NDArray[np.bool_] = (outputs[:, 0] >= 0.5) == (targets == 1)
        return answers
    own = np.take_along_axis(outputs, targets[:, None], axis=1)
    numbers = np.arange(outputs.shape[1])[None, :]
    ahead = (outputs > own) | ((outputs == own) & (numbers < targets[:, None]))
    within: NDArray[np.bool_] = ahead.sum(axis=1) < first
    return within
