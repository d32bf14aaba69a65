"""Samples in their smallest form, thinned out evenly, digested and compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota.errors import ContentError
from ota.quantize.dataset import (
    Dataset,
    check_overlap,
    classes_of,
    no_targets,
    overlap,
    probe,
    smallest_form,
    spread,
    take,
)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 255], "uint8"),
        ([0.0, 3.0], "uint8"),
        ([True, False], "uint8"),
        ([-1, 127], "int8"),
        ([-1, 128], "int16"),
        ([0.5, 1.0], "float32"),
        ([40000, 1], "float32"),
    ],
)
def test_samples_take_the_smallest_type_that_holds_them(values: list[float], kind: str) -> None:
    """Whole numbers go as bytes or words, anything else as float32, and the numbers stay the same."""
    form = smallest_form(np.array(values))
    assert form.dtype.name == kind
    assert form.astype(np.float64).tolist() == values


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.array([1.0, np.nan]), "holds NaN or infinite values"),
        (np.array([1.0, np.inf]), "holds NaN or infinite values"),
        (np.array([1e300]), "holds NaN or infinite values"),
        (np.array(["a"]), "holds <U1, which are no numbers"),
        (np.array([2**24 + 1]), "holds whole numbers that float32 cannot tell apart"),
    ],
    ids=["nan", "infinite", "too large", "text", "too fine"],
)
def test_what_no_network_can_take_is_refused(values: np.ndarray, problem: str) -> None:
    """Values that are no finite float32 numbers are an error in words."""
    with pytest.raises(ValueError, match=problem):
        smallest_form(values)


def test_a_limit_is_spread_over_classes_and_within_them() -> None:
    """Each class gives its share from all over its samples; a class with too few leaves its share to the others."""
    assert spread([0] * 10 + [1] * 10, 4) == (0, 5, 10, 15)
    assert spread([0] * 10 + [1] * 2, 6) == (0, 2, 5, 7, 10, 11)
    assert spread([0, 1, 2, 0, 1, 2], 2) == (1, 2)


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 70))
def test_a_limit_is_kept_exactly(classes: list[int], limit: int) -> None:
    """As many samples as asked for, or all; none twice; no class short by more than one while it has more."""
    chosen = spread(classes, limit)
    assert len(chosen) == min(limit, len(classes))
    assert list(chosen) == sorted(set(chosen))
    counts = {number: sum(classes[index] == number for index in chosen) for number in set(classes)}
    largest = max(counts.values(), default=0)
    assert all(count >= largest - 1 or count == classes.count(number) for number, count in counts.items())


def _dataset(count: int = 12, *, first: int = 0) -> Dataset:
    samples = (np.arange(count)[:, None] + first).astype(np.uint8)
    return Dataset(samples=samples, targets=np.arange(count) % 3)


def test_a_probe_is_a_dataset_with_every_class() -> None:
    """The probe holds a few samples of each class, with their targets."""
    few = probe(_dataset(12), 6)
    assert len(few) == 6
    assert sorted(few.targets.tolist()) == [0, 0, 1, 1, 2, 2]
    assert (few.samples[:, 0] % 3).tolist() == few.targets.tolist()


def test_a_network_sees_scaled_float32() -> None:
    """Inputs are float32 with a batch of 1: the sample times scale plus offset, for each channel."""
    pixels = np.array([[[[0, 255]]]], np.uint8)
    data = Dataset(samples=pixels, targets=no_targets(1), scale=(1.0, 1 / 127.5), offset=(5.0, -1.0))
    (one,) = data.inputs()
    assert one.dtype == np.float32
    assert one.shape == (1, 1, 1, 2)
    assert one.ravel().tolist() == pytest.approx([5.0, 1.0])


def test_the_digest_is_of_what_a_network_sees() -> None:
    """Equal samples have equal digests whatever their labels; another sample or scale makes another digest."""
    one = _dataset()
    assert one.digest == Dataset(samples=one.samples.copy(), targets=no_targets(12), labels=("a",)).digest
    assert one.digest != _dataset(first=1).digest
    assert one.digest != Dataset(samples=one.samples, targets=one.targets, scale=(2.0,)).digest


def test_shared_samples_are_found_by_content() -> None:
    """Samples of one dataset that are in the other are found with their places, whatever their types."""
    one, other = _dataset(12), _dataset(12, first=9)
    assert overlap(one, other) == ((9, 0), (10, 1), (11, 2))
    floats = Dataset(samples=other.samples.astype(np.float32), targets=other.targets)
    assert overlap(one, floats) == overlap(one, other)
    assert overlap(one, take(other, range(3, 12))) == ()


def test_representative_samples_in_the_evaluation_set_are_refused_unless_forced() -> None:
    """The refusal says how many and which, by file name where there are files; forced, it is a note; nothing shared is no note."""
    one, other = _dataset(12), _dataset(12, first=9)
    named = replace(other, names=tuple(f"test/{place}.png" for place in range(12)))
    problem = (
        "3 of 12 representative samples are in the evaluation set too: sample 9 is test/0.png, sample 10 is test/1.png, "
        "sample 11 is test/2.png; what is measured on them flatters the schemes that calibrate"
    )
    with pytest.raises(ContentError) as caught:
        check_overlap(one, named)
    assert (
        str(caught.value)
        == f"representative: {problem} (take them out of one of the two, or set allow_overlap: true)"
    )
    assert check_overlap(one, named, forced=True) == (problem,)
    assert check_overlap(one, take(other, range(3, 12))) == ()
    (note,) = check_overlap(one, one, forced=True)
    assert ", sample 4 is sample 4 and 7 more; " in note


def test_only_class_numbers_are_classes() -> None:
    """Numbers to compare with are one class, so that a limit is spread over all samples."""
    assert classes_of(np.array([2, 0]), 2) == (2, 0)
    assert classes_of(np.array([[2.0], [0.5]]), 2) == (0, 0)
