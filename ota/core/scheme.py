"""The ways to quantize, as a literal table; help texts and docs are generated from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SourceKind(Enum):
    """What a person hands in as the model."""

    KERAS = "keras"
    SAVED_MODEL = "saved_model"
    TFLITE = "tflite"


class Tool(Enum):
    """What makes a scheme's file."""

    CONVERTER = "TensorFlow"
    QUANTIZER = "LiteRT Quantizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One way to quantize a trained network after training (PTQ).

    `published` is the id in the published method's table (U0 to U4) or empty. `starts_from` lists the kinds of source the scheme can start
    from; the quantizer's start from the float32 .tflite that the converter makes, or that was handed in. `representative` says whether it
    calibrates on a representative dataset. `lower_form` names the scheme that makes the same in a form that older runtimes load, empty for none.
    """

    name: str
    title: str
    summary: str
    published: str = ""
    starts_from: frozenset[SourceKind]
    representative: bool = False
    tool: Tool = Tool.CONVERTER
    lower_form: str = ""


_CONVERTER = frozenset({SourceKind.KERAS, SourceKind.SAVED_MODEL})
_ANY = frozenset(SourceKind)

BASELINE = "float32"
"""The scheme that L compares with, measured on the same host."""

AS_IS = Scheme(
    name="as_is",
    title="as handed in",
    summary="a .tflite that is quantized already, unchanged; it has no float32 baseline, so it can be measured but has no L",
    published="",
    starts_from=frozenset({SourceKind.TFLITE}),
    representative=False,
)
"""Not an entry of SCHEMES: a playbook cannot ask for it, it is what an already quantized source is measured as."""

SCHEMES: tuple[Scheme, ...] = (
    Scheme(
        name=BASELINE,
        title="float32",
        summary="no quantization; the baseline of L",
        published="U0",
        starts_from=_ANY,
    ),
    Scheme(
        name="dynamic_range",
        title="dynamic range",
        summary="int8 weights, activations quantized at run time",
        published="U1",
        starts_from=_CONVERTER,
        lower_form="dynamic_range_compat",
    ),
    Scheme(
        name="dynamic_range_compat",
        title="dynamic range, dense per tensor",
        summary="dynamic range with dense layers per tensor, so that runtimes before 2.17 load it",
        starts_from=_CONVERTER,
    ),
    Scheme(
        name="int8",
        title="int8, float I/O",
        summary="full integer with a representative dataset, float32 input and output",
        published="U2",
        starts_from=_CONVERTER,
        representative=True,
    ),
    Scheme(
        name="int8_uint8_io",
        title="int8, uint8 I/O",
        summary="integer only with a representative dataset, uint8 input and output",
        published="U3",
        starts_from=_CONVERTER,
        representative=True,
    ),
    Scheme(
        name="float16",
        title="float16",
        summary="float16 weights, computed in float32 on a CPU",
        published="U4",
        starts_from=_CONVERTER,
    ),
    Scheme(
        name="int16x8",
        title="int16x8",
        summary="16-bit activations, int8 weights, with a representative dataset (experimental in TFLite)",
        starts_from=_CONVERTER,
        representative=True,
    ),
    Scheme(
        name="float16_storage",
        title="float16 storage",
        summary="float16 weights by the quantizer, computed in float32 on a CPU",
        starts_from=_ANY,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="weight_only_int8",
        title="int8 weights",
        summary="int8 weights, made float32 again before they are computed with",
        starts_from=_ANY,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="dynamic_int8",
        title="dynamic int8",
        summary="int8 weights per channel, activations quantized at run time",
        starts_from=_ANY,
        tool=Tool.QUANTIZER,
        lower_form="dynamic_int8_compat",
    ),
    Scheme(
        name="dynamic_int8_compat",
        title="dynamic int8, dense per tensor",
        summary="dynamic int8 with dense layers per tensor, so that runtimes before 2.17 load it",
        starts_from=_ANY,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="static_int8",
        title="static int8",
        summary="int8 weights and activations, float32 input and output",
        starts_from=_ANY,
        representative=True,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="static_int8_io",
        title="static int8, int8 I/O",
        summary="int8 weights and activations, int8 input and output",
        starts_from=_ANY,
        representative=True,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="static_int8_mse",
        title="static int8, MSE",
        summary="static int8 with weight scales of the least squared error for a bell curve",
        starts_from=_ANY,
        representative=True,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="static_int8_octav",
        title="static int8, OCTAV",
        summary="static int8 with weights clipped where OCTAV says that the error is least",
        starts_from=_ANY,
        representative=True,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="static_int16x8",
        title="static int16x8",
        summary="16-bit activations, int8 weights, float32 input and output",
        starts_from=_ANY,
        representative=True,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="weight_only_int4",
        title="int4 weights",
        summary="int4 weights of convolutions and dense layers, made float32 again before they are computed with",
        starts_from=_ANY,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="dynamic_int4",
        title="dynamic int4",
        summary="int4 weights per channel of convolutions and dense layers, activations quantized at run time",
        starts_from=_ANY,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="dynamic_int4_octav",
        title="dynamic int4, OCTAV",
        summary="dynamic int4 with weights clipped where OCTAV says that the error is least",
        starts_from=_ANY,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="dynamic_int4_block32",
        title="dynamic int4 in blocks of 32",
        summary="dynamic int8 with dense layers of int4, a scale for every 32 weights",
        starts_from=_ANY,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="dynamic_int4_gptq",
        title="dynamic int4, GPTQ",
        summary="dynamic int8 with dense layers of int4, rounded by GPTQ",
        starts_from=_ANY,
        representative=True,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="dynamic_int4_oscar",
        title="dynamic int4, OSCAR",
        summary="dynamic int8 with dense layers of int4, scaled and clipped by OSCAR",
        starts_from=_ANY,
        representative=True,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="dynamic_int4_hadamard",
        title="dynamic int4, Hadamard",
        summary="dynamic int8 with dense layers of int4 after a Hadamard rotation",
        starts_from=_ANY,
        tool=Tool.QUANTIZER,
    ),
    Scheme(
        name="static_int4",
        title="static int4 weights",
        summary="static int8 with int4 weights in convolutions and dense layers",
        starts_from=_ANY,
        representative=True,
        tool=Tool.QUANTIZER,
    ),
)
"""The converter's, then the quantizer's, each from simple to complex: of equal candidates the earlier is proposed."""


def scheme_named(name: str) -> Scheme:
    """Return the entry of SCHEMES called `name`, or AS_IS; KeyError otherwise."""
    for scheme in (*SCHEMES, AS_IS):
        if scheme.name == name:
            return scheme
    raise KeyError(name)
