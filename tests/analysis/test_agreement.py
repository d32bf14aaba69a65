"""Outputs of a few samples, on the device that was measured and on another one."""

from __future__ import annotations

import math
import struct
import subprocess
import sys

import pytest

from ota.analysis.agreement import agreement


def _bytes(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


MEASURED = _bytes(0.0, 0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    ("answered", "same_runtime", "agrees"),
    [
        ((0.0, 0.25, 0.5, 1.0), True, True),
        ((0.0, 0.25, 0.5, 1.0 + 1e-6), True, True),
        ((0.0, 0.25, 0.5 + 2 / 255, 1.0), True, True),
        ((0.0, 0.25, 0.5 + 10 / 255, 1.0), True, False),
        ((0.0, 0.25, 0.5 + 10 / 255, 1.0), False, True),
        ((1.0, 0.5, 0.25, 0.0), False, False),
    ],
    ids=["equal", "last bits", "2 steps", "10 steps", "10 steps, other runtime", "another model"],
)
def test_rounding_passes_and_another_model_does_not(
    answered: tuple[float, ...], same_runtime: bool, agrees: bool
) -> None:
    """One runtime may differ by rounding, two by the steps that were seen between them, and no more."""
    found = agreement(MEASURED, _bytes(*answered), same_runtime=same_runtime)
    assert found.agrees is agrees
    assert found.values == 4
    assert (found.reason == "") is agrees


def test_the_tolerance_follows_the_span_of_the_outputs() -> None:
    """Outputs of another magnitude have a tolerance of that magnitude; a constant output is compared with its size."""
    wide = agreement(_bytes(-300, 500), _bytes(-300, 506), same_runtime=True)
    assert (wide.agrees, wide.difference, wide.tolerance) == (True, 6.0, 8.0)
    assert agreement(_bytes(5, 5), _bytes(5, 5.04), same_runtime=True).agrees
    assert not agreement(_bytes(0, 0), _bytes(0, 0.01), same_runtime=True).agrees


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        (_bytes(0.0, 0.25, 0.5), "expected 16 bytes of outputs, found 12"),
        (b"", "expected 16 bytes of outputs, found 0"),
        (MEASURED + b"x", "expected 16 bytes of outputs, found 17"),
        (_bytes(0.0, math.nan, 0.5, 1.0), "the outputs hold NaN or infinite values"),
        (_bytes(0.0, 0.25, 0.5, 0.8), "outputs differ by 0.2 from those measured: at most 0.01 was expected"),
    ],
)
def test_disagreement_has_a_reason(answered: bytes, reason: str) -> None:
    """Too few bytes, NaN and other numbers are each told in words."""
    found = agreement(MEASURED, answered, same_runtime=True)
    assert (found.agrees, found.reason) == (False, reason)


def test_a_deployment_loads_no_numpy_for_it() -> None:
    """Comparing outputs needs the standard library alone."""
    code = "import sys, ota.analysis.agreement; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
