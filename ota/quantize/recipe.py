"""What TensorFlow's converter is told for each scheme, as a literal table; part of the cache key, so a change here converts anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The converter's settings: `operators` names the only set of operators allowed (empty: the converter's default).

    `dense_per_channel` False makes files that runtimes before 2.17 load: FULLY_CONNECTED stays below version 12.
    """

    optimize: bool = True
    float16: bool = False
    operators: str = ""
    uint8_io: bool = False
    dense_per_channel: bool = True


_INT8 = "TFLITE_BUILTINS_INT8"
_INT16X8 = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "float32": Recipe(optimize=False),
        "dynamic_range": Recipe(),
        "dynamic_range_compat": Recipe(dense_per_channel=False),
        "int8": Recipe(operators=_INT8),
        "int8_uint8_io": Recipe(operators=_INT8, uint8_io=True),
        "float16": Recipe(float16=True),
        "int16x8": Recipe(operators=_INT16X8),
    }
)
"""By the scheme's name; every entry of SCHEMES has one."""
