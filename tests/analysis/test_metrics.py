"""Metrics from raw outputs, checked against a slow and plain computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota.analysis.metrics import compute, evaluate, per_sample
from ota.core.metric import METRICS

OUTPUTS = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]], np.float32)


@pytest.mark.parametrize(
    ("name", "targets", "value"),
    [
        ("accuracy", [1, 0, 2, 0], 1.0),
        ("accuracy", [1, 0, 2, 1], 0.75),
        ("accuracy", [0, 1, 0, 2], 0.0),
        ("top_2", [2, 1, 1, 1], 1.0),
        ("top_2", [0, 1, 1, 2], 0.5),
        ("top_5", [0, 0, 0, 0], 1.0),
    ],
)
def test_the_share_of_right_classes(name: str, targets: list[int], value: float) -> None:
    """A class counts where it is among the first k outputs; of equal outputs the lower number comes first."""
    assert compute(name, OUTPUTS, np.array(targets)) == value


def test_one_output_is_two_classes() -> None:
    """A network with one output says class 1 from 0.5 on."""
    outputs = np.array([[0.2], [0.5], [0.9], [0.1]], np.float32)
    assert compute("accuracy", outputs, np.array([0, 1, 0, 0])) == 0.75


def test_errors_are_means_over_all_numbers() -> None:
    """MSE and MAE are taken over every number of every sample, in double precision."""
    targets = np.array([[0.1, 0.7, 0.2]] * 4, np.float32)
    differences = [float(a) - float(b) for a, b in zip(OUTPUTS.ravel(), targets.ravel(), strict=True)]
    assert compute("mse", OUTPUTS, targets) == pytest.approx(sum(d * d for d in differences) / 12)
    assert compute("mae", OUTPUTS, targets) == pytest.approx(sum(map(abs, differences)) / 12)
    assert compute("mse", OUTPUTS, OUTPUTS) == 0.0


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_top_k_is_what_sorting_says(seed: int, k: int) -> None:
    """The share equals that of a stable sort, ties included."""
    rng = np.random.default_rng(seed)
    outputs = rng.integers(0, 4, (7, 5)).astype(np.float32)
    targets = rng.integers(0, 5, 7)
    order = np.argsort(-outputs, axis=1, kind="stable")
    share = np.mean([target in row[:k] for row, target in zip(order, targets, strict=True)])
    assert compute("accuracy" if k == 1 else f"top_{k}", outputs, targets) == share


def test_every_metric_of_the_table_is_computed() -> None:
    """METRICS names nothing that cannot be computed."""
    for metric in METRICS:
        targets = np.zeros(4, np.int64) if metric.classification else np.zeros((4, 3), np.float32)
        assert math.isfinite(compute(metric.name, OUTPUTS, targets))


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "problem"),
    [
        ("accuracy", OUTPUTS, [0, 1], "expected 2 outputs, one for each sample, found 4"),
        ("accuracy", OUTPUTS, [0, 1, 2, 3], "expected class numbers from 0 to 2, as many as the network knows"),
        ("accuracy", OUTPUTS * np.nan, [0, 1, 2, 0], "the outputs of 4 of 4 samples are NaN or infinite"),
        ("mse", np.array([[1], [np.inf]]), [[1], [1]], "the outputs of 1 of 2 samples are NaN or infinite"),
        ("mse", OUTPUTS, [[1.0]] * 4, "expected targets [4, 3], found [4, 1]"),
        ("accuracy", OUTPUTS[0], [0], "expected outputs [samples, numbers], found [3]"),
    ],
)  # fmt: skip
def test_outputs_that_mean_nothing_are_refused(
    name: str, outputs: np.ndarray, targets: list[object], problem: str
) -> None:
    """NaN, wrong counts and wrong classes are an error in words, never a figure."""
    with pytest.raises(ValueError, match=r"expected|NaN") as caught:
        compute(name, outputs, np.array(targets))
    assert str(caught.value) == problem


def test_an_unknown_metric_is_a_slip() -> None:
    """A name outside METRICS is refused by its table."""
    with pytest.raises(KeyError):
        compute("f1", OUTPUTS, np.zeros(4, np.int64))


def test_a_device_s_answer_becomes_named_figures() -> None:
    """Bytes and a shape are turned into (name, value) pairs; further axes are flattened."""
    answer = OUTPUTS.astype("<f4").tobytes()
    found = evaluate(answer, (4, 1, 3), names=("accuracy", "top_2"), targets=np.array([1, 0, 2, 1]))
    assert found == (("accuracy", 0.75), ("top_2", 1.0))


@pytest.mark.parametrize("shape", [(), (0, 3), (4, 4), (2, 3)])
def test_an_answer_of_another_length_is_refused(shape: tuple[int, ...]) -> None:
    """A device that answers with too few or too many bytes is not believed."""
    with pytest.raises(ValueError, match=r"expected float32 outputs of shape \[.*\], found 48 bytes"):
        evaluate(OUTPUTS.tobytes(), shape, names=("accuracy",), targets=np.zeros(4, np.int64))


@pytest.mark.parametrize("name", ["accuracy", "top_5", "mse", "mae"])
def test_a_metric_is_the_mean_of_its_samples(name: str) -> None:
    """The numbers of the single samples, 1 or 0 or an error, have the metric as their mean."""
    random = np.random.RandomState(3)
    outputs = random.random_sample((40, 7)).astype(np.float32)
    targets = random.randint(0, 7, 40) if name in {"accuracy", "top_5"} else random.random_sample((40, 7))
    values = per_sample(name, outputs, targets)
    assert values.shape == (40,)
    assert float(np.mean(values)) == compute(name, outputs, targets)
