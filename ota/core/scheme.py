"""The ways to quantize, as a literal table; help texts and docs are generated from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SourceKind(Enum):
    """What a person hands in as the model."""

    KERAS = "keras"
    SAVED_MODEL = "saved_model"
    TFLITE = "tflite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One way to quantize a trained network after training (PTQ).

    `published` is the id in the published method's table (U0 to U4) or empty. `starts_from` lists the kinds of source the scheme can start
    from; `representative` says whether it calibrates on a representative dataset.
    """

    name: str
    title: str
    summary: str
    published: str
    starts_from: frozenset[SourceKind]
    representative: bool


_CONVERTER = frozenset({SourceKind.KERAS, SourceKind.SAVED_MODEL})

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
        starts_from=_CONVERTER | {SourceKind.TFLITE},
        representative=False,
    ),
    Scheme(
        name="dynamic_range",
        title="dynamic range",
        summary="int8 weights, activations quantized at run time",
        published="U1",
        starts_from=_CONVERTER,
        representative=False,
    ),
    Scheme(
        name="dynamic_range_compat",
        title="dynamic range, dense per tensor",
        summary="dynamic range with dense layers per tensor, so that runtimes before 2.17 load it",
        published="",
        starts_from=_CONVERTER,
        representative=False,
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
        representative=False,
    ),
    Scheme(
        name="int16x8",
        title="int16x8",
        summary="16-bit activations, int8 weights, with a representative dataset (experimental in TFLite)",
        published="",
        starts_from=_CONVERTER,
        representative=True,
    ),
)


def scheme_named(name: str) -> Scheme:
    """Return the entry of SCHEMES called `name`, or AS_IS; KeyError otherwise."""
    for scheme in (*SCHEMES, AS_IS):
        if scheme.name == name:
            return scheme
    raise KeyError(name)
