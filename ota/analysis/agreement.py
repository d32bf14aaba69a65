"""Does a device answer a few samples as another one did when the model was measured? Standard library only: deployments load no NumPy.

Two runtimes answer differently with the same int8 file: up to 10 steps of 255 on an output were seen, and 3 of 478 classes. One runtime gives
the same int8 answers on other processors, and float32 answers that differ in the last bits. Hence two tolerances, relative to the span of
the measured outputs: they let rounding pass and stop a model that computes something else.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

SAME_RUNTIME = 0.01
"""Two to three of 255 steps."""
OTHER_RUNTIME = 0.06
"""Fifteen of 255 steps: half as much again as was seen."""
_LEAST = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What was compared: `difference` is the largest absolute difference of `values` outputs, allowed up to `tolerance`.

    `reason` says why the outputs do not agree, empty where they do.
    """

    agrees: bool
    values: int
    difference: float
    tolerance: float
    reason: str = ""


def agreement(measured: bytes, answered: bytes, *, same_runtime: bool) -> Agreement:
    """Compare two answers to the same samples: little-endian float32 bytes, `measured` at the selection, `answered` now."""
    expected, found = _floats(measured), _floats(answered)
    if len(measured) % 4 or len(answered) % 4 or len(expected) != len(found) or not expected:
        return _refused(len(found), f"expected {len(measured)} bytes of outputs, found {len(answered)}")
    if not all(map(math.isfinite, found)):
        return _refused(len(found), "the outputs hold NaN or infinite values")
    span = max(expected) - min(expected) or max(map(abs, expected))
    tolerance = max(_LEAST, span * (SAME_RUNTIME if same_runtime else OTHER_RUNTIME))
    difference = max(abs(a - b) for a, b in zip(expected, found, strict=True))
    reason = ""
    if not difference <= tolerance:
        reason = (
            f"outputs differ by {difference:.4g} from those measured: at most {tolerance:.4g} was expected"
        )
    return Agreement(
        agrees=not reason, values=len(found), difference=difference, tolerance=tolerance, reason=reason
    )


def _refused(values: int, reason: str) -> Agreement:
    return Agreement(agrees=False, values=values, difference=math.inf, tolerance=0.0, reason=reason)


def _floats(content: bytes) -> tuple[float, ...]:
    whole = len(content) // 4
    return struct.unpack(f"<{whole}f", content[: 4 * whole])
