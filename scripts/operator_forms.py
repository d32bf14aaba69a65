"""The forms in which operators occur in quantized files: types of what they read, and how their weights are stored.

Makers of files do not always raise an operator's version when they give it tensors that only newer runtimes take, so the version alone does not
decide. Each form here is a file of one operator, version 1, with tensors of those types and scales that suit them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ota.quantize.graph import read_graph
from scripts.one_operator import QUANTIZED, one_form
from scripts.operator_shapes import OPERATORS, Operator, T

_WEIGHED: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]] = {
    "CONV_2D": ((1, 4, 4, 64), (8, 1, 1, 64), (1, 4, 4, 8), 0),
    "DEPTHWISE_CONV_2D": ((1, 4, 4, 8), (1, 1, 1, 8), (1, 4, 4, 8), 3),
    "FULLY_CONNECTED": ((1, 256), (8, 256), (1, 8), 0),
    "TRANSPOSE_CONV": ((1, 4, 4, 64), (8, 1, 1, 64), (1, 4, 4, 8), 0),
    "BATCH_MATMUL": ((1, 8, 64), (1, 64, 8), (1, 8, 8), 2),
    "EMBEDDING_LOOKUP": ((2,), (8, 64), (2, 64), 0),
}
"""Operator -> shapes of what it reads, of its weights and of what it writes, and the dimension of the channels."""

_STORED = {
    "float32": ("float32", "float16", "int8", "uint8", "int4", "int2"),
    "int8": ("int8", "int4", "int2"),
    "uint8": ("uint8",),
    "int16": ("int8", "int4", "int2"),
}
"""Type that is read and written -> types that weights are stored as beside it."""

_BLOCKS = (32, 64, 128, 256)
_TYPES = ("float32", "int8", "uint8", "int16", "int32", "int64", "float16")
_RANGED = {"SOFTMAX": 256, "LOGISTIC": 256, "TANH": 128, "L2_NORMALIZATION": 128}
_LOWEST = {"int8": -128, "uint8": 0, "int16": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One file: an operator and the form that `ota.core.graph` reads from it."""

    operator: str
    form: str
    content: bytes


def forms(version: int = 0) -> Iterator[Form]:
    """Yield every form to try, each once, in `version`; 0: in the first that runtimes know."""
    seen: set[tuple[str, str]] = set()
    for name, operator in _tried():
        content = one_form(name, operator, version)
        form = next(found.form for found in read_graph(content).forms if found.operator == name)
        if (name, form) not in seen:
            seen.add((name, form))
            yield Form(operator=name, form=form, content=content)


def _tried() -> Iterator[tuple[str, Operator]]:
    for name in _WEIGHED:
        yield from ((name, operator) for operator in _weighed(name))
    for stored in ("float16", "int8", "uint8", "int16", "int4", "int2"):
        for filled in (
            T(shape=(8, 4), type=stored),
            _filter((8, 4), stored, 0, 1),
            _filter((8, 4), stored, 0, 8),
        ):
            yield (
                "DEQUANTIZE",
                replace(OPERATORS["DEQUANTIZE"], inputs=(filled,), outputs=(T(shape=(8, 4)),)),
            )
    for before in ("float32", "int8", "uint8", "int16"):
        for after in ("int8", "uint8", "int16", "int4"):
            ends = (T(shape=(1, 4), type=before),), (T(shape=(1, 4), type=after, scale=0.25),)
            yield ("QUANTIZE", replace(OPERATORS["QUANTIZE"], inputs=ends[0], outputs=ends[1]))
    for name, operator in OPERATORS.items():
        if name not in {*_WEIGHED, "QUANTIZE", "DEQUANTIZE", "STABLEHLO_COMPOSITE"}:
            yield from ((name, _retyped(name, operator, kind)) for kind in _TYPES)
    yield ("STABLEHLO_COMPOSITE", OPERATORS["STABLEHLO_COMPOSITE"])


def _weighed(name: str) -> Iterator[Operator]:
    """Yield an operator with every type of activations and every way to store its weights."""
    entry, weights, result, dimension = _WEIGHED[name]
    for read, types in _STORED.items():
        for stored in types:
            kept = [_filter(weights, stored, 0, 1)]
            if stored in QUANTIZED:
                kept.append(_filter(weights, stored, dimension, weights[dimension]))
            if stored in {"int8", "int4", "int2"} and name == "FULLY_CONNECTED":
                kept += [replace(kept[0], block=block) for block in _BLOCKS]
            for one in kept:
                yield _with(name, T(shape=entry, type=read), one, T(shape=result, type=read))


def _with(name: str, entry: T, weights: T, result: T) -> Operator:
    plain = OPERATORS[name]
    kind = {"int8": "int32", "uint8": "int32", "int16": "int64"}.get(entry.type, "float32")
    bias = T(
        shape=(result.shape[-1],),
        type=kind,
        values=(0,) * result.shape[-1],
        scale=0.25,
        channels=weights.channels,
        scaled=kind != "float32",
    )
    if name == "TRANSPOSE_CONV":
        inputs: tuple[T, ...] = (T(shape=(4,), type="int32", values=result.shape), weights, entry)
    elif name == "EMBEDDING_LOOKUP":
        inputs = (replace(entry, type="int32"), weights)
    else:
        inputs = (entry, weights)
    takes_bias = name in {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
    return replace(plain, inputs=(*inputs, bias) if takes_bias else inputs, outputs=(result,))


def _filter(shape: tuple[int, ...], stored: str, dimension: int, channels: int) -> T:
    count = 1
    for size in shape:
        count *= size
    return T(shape=shape, type=stored, values=(0,) * count, dimension=dimension, channels=channels)


def _retyped(name: str, operator: Operator, kind: str) -> Operator:
    """Return the operator with every float32 tensor of another type; results with a fixed range have the scale that runtimes ask for."""
    outputs = tuple(_retype(one, kind) for one in operator.outputs)
    if name in _RANGED and kind in _LOWEST:
        steps = 32768 if kind == "int16" else _RANGED[name]
        zero = _LOWEST[kind] if steps == 256 else {"int8": 0, "uint8": 128, "int16": 0}[kind]
        outputs = tuple(replace(one, scale=1 / steps, zero_point=zero) for one in outputs)
    return replace(operator, inputs=tuple(_retype(one, kind) for one in operator.inputs), outputs=outputs)


def _retype(one: T, kind: str) -> T:
    return replace(one, type=kind) if one.type == "float32" else one
