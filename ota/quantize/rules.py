"""What LiteRT Quantizer is told for each scheme, as a literal table; part of the cache key, so a change here quantizes anew.

Invariant: of the rules of a scheme the last one that the quantizer's policy allows for an operator holds; an operator that no rule takes stays
float32. INT4 weights exist for convolutions and dense layers, blocks for dense layers, and GPTQ, OSCAR and Hadamard rotations for dense layers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType


class Arithmetic(Enum):
    """What an operator computes with."""

    FLOAT = "weights are made float32 again first"
    DYNAMIC = "activations are quantized at run time"
    STATIC = "activations are quantized by what calibration saw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How the operators called `operator` (`*`: all) are quantized.

    `algorithm` is the quantizer's key; `block` is how many weights share a scale (0: a channel does, or the tensor where not `per_channel`);
    `activation_bits` count for STATIC alone.
    """

    arithmetic: Arithmetic
    bits: int
    operator: str = "*"
    algorithm: str = "min_max_uniform_quantize"
    block: int = 0
    per_channel: bool = True
    activation_bits: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of a scheme; `float_io` keeps input and output float32."""

    rules: tuple[Rule, ...]
    float_io: bool = True

    @property
    def calibrated(self) -> frozenset[str]:
        """The algorithms that look at activations of representative samples."""
        return frozenset(
            rule.algorithm
            for rule in self.rules
            if rule.arithmetic is Arithmetic.STATIC or rule.algorithm in {"GPTQ", "OSCAR"}
        )

    def without(self, algorithm: str) -> Rules:
        """Return the rules but those of `algorithm`: the quantizer refuses one for which calibration found no operator."""
        return replace(self, rules=tuple(rule for rule in self.rules if rule.algorithm != algorithm))


_DENSE = "FULLY_CONNECTED"
_STATIC8 = Rule(arithmetic=Arithmetic.STATIC, bits=8)
_DYNAMIC8 = Rule(arithmetic=Arithmetic.DYNAMIC, bits=8)
_FLOAT8 = Rule(arithmetic=Arithmetic.FLOAT, bits=8)
_WEIGHTED = (_DENSE, "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")


def _dense_int4(algorithm: str, *, block: int = 0) -> Rules:
    dense = Rule(arithmetic=Arithmetic.DYNAMIC, bits=4, operator=_DENSE, algorithm=algorithm, block=block)
    return Rules(rules=(_DYNAMIC8, dense))


def _every(*rules: Rule, float_io: bool = True) -> Rules:
    return Rules(rules=rules, float_io=float_io)


RULES: Mapping[str, Rules] = MappingProxyType(
    {
        "float16_storage": _every(Rule(arithmetic=Arithmetic.FLOAT, bits=16, algorithm="float_casting")),
        "weight_only_int8": _every(_FLOAT8),
        "dynamic_int8": _every(_DYNAMIC8),
        "dynamic_int8_compat": _every(
            _DYNAMIC8, Rule(arithmetic=Arithmetic.DYNAMIC, bits=8, operator=_DENSE, per_channel=False)
        ),
        "static_int8": _every(_STATIC8),
        "static_int8_io": _every(_STATIC8, float_io=False),
        "static_int8_mse": _every(
            _STATIC8,
            *(
                Rule(arithmetic=Arithmetic.STATIC, bits=8, operator=name, algorithm="MSE")
                for name in _WEIGHTED
            ),
        ),
        "static_int8_octav": _every(Rule(arithmetic=Arithmetic.STATIC, bits=8, algorithm="OCTAV")),
        "static_int16x8": _every(Rule(arithmetic=Arithmetic.STATIC, bits=8, activation_bits=16)),
        "weight_only_int4": _every(Rule(arithmetic=Arithmetic.FLOAT, bits=4)),
        "dynamic_int4": _every(Rule(arithmetic=Arithmetic.DYNAMIC, bits=4)),
        "dynamic_int4_octav": _every(Rule(arithmetic=Arithmetic.DYNAMIC, bits=4, algorithm="OCTAV")),
        "dynamic_int4_block32": _dense_int4("min_max_uniform_quantize", block=32),
        "dynamic_int4_gptq": _dense_int4("GPTQ"),
        "dynamic_int4_oscar": _dense_int4("OSCAR"),
        "dynamic_int4_hadamard": _dense_int4("DECOMPOSED_HADAMARD_ROTATION"),
        "static_int4": _every(
            _STATIC8,
            Rule(arithmetic=Arithmetic.STATIC, bits=4, operator="CONV_2D"),
            Rule(arithmetic=Arithmetic.STATIC, bits=4, operator=_DENSE),
        ),
    }
)
"""By the scheme's name; every entry of SCHEMES that the quantizer makes has one."""
