"""What each operator reads and writes at its plainest: tensors of the types and shapes that it works on, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ai_edge_litert import schema_py_generated as schema


@dataclass(frozen=True, slots=True, kw_only=True)
class T:
    """A tensor; `values` fills a constant, None is no constant.

    Types of quantized values, and a tensor that is `scaled`, have a scale and a zero point; `channels` many scales along `dimension`; with `block` a scale for each run of so many values.
    """

    shape: tuple[int, ...]
    type: str = "float32"
    values: tuple[float, ...] | None = None
    scale: float = 0.5
    zero_point: int = 0
    channels: int = 1
    dimension: int = 0
    block: int = 0
    scaled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What an operator reads and writes, and its options: the name of their record in the schema, and fields that differ from its defaults."""

    inputs: tuple[T, ...]
    outputs: tuple[T, ...]
    options: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)


def _c(*values: float, shape: tuple[int, ...] | None = None, type: str = "int32") -> T:  # noqa: A002 - it is a tensor's type
    return T(shape=(len(values),) if shape is None else shape, type=type, values=values)


def _zeros(*shape: int, type: str = "float32") -> T:  # noqa: A002
    count = 1
    for size in shape:
        count *= size
    return T(shape=shape, type=type, values=(0,) * count)


ROW = T(shape=(1, 4))
_IMAGE = T(shape=(1, 4, 4, 1))
_BOOLS = T(shape=(1, 4), type="bool")
_AXIS = _c(1)
_POOL: Mapping[str, object] = {"strideW": 1, "strideH": 1, "filterWidth": 1, "filterHeight": 1}
_STRIDES: Mapping[str, object] = {"strideW": 1, "strideH": 1}


_NO_ATTRIBUTES = [0, 0, 0x24, 1]  # an empty map in FlexBuffers


def unary(options: str = "", entry: T = ROW, **fields: object) -> Operator:
    """Return an operator that answers in the shape and type it is given."""
    return Operator(inputs=(entry,), outputs=(entry,), options=options, fields=fields)


def _binary(options: str = "", entry: T = ROW, result: T = ROW) -> Operator:
    return Operator(inputs=(entry, entry), outputs=(result,), options=options)


def _compare(options: str) -> Operator:
    return _binary(options, result=_BOOLS)


def _reduce() -> Operator:
    return Operator(
        inputs=(ROW, _AXIS), outputs=(T(shape=(1, 1)),), options="ReducerOptions", fields={"keepDims": True}
    )


def _arg(options: str) -> Operator:
    return Operator(
        inputs=(ROW, _AXIS),
        outputs=(T(shape=(1,), type="int32"),),
        options=options,
        fields={"outputType": schema.TensorType.INT32},
    )


OPERATORS: dict[str, Operator] = {
    "ABS": unary("AbsOptions"),
    "ADD": _binary("AddOptions"),
    "ARG_MAX": _arg("ArgMaxOptions"),
    "ARG_MIN": _arg("ArgMinOptions"),
    "AVERAGE_POOL_2D": unary("Pool2DOptions", _IMAGE, **_POOL),
    "BATCH_MATMUL": Operator(
        inputs=(T(shape=(1, 2, 3)), T(shape=(1, 3, 2))), outputs=(T(shape=(1, 2, 2)),), options="BatchMatMulOptions"
    ),
    "BATCH_TO_SPACE_ND": Operator(
        inputs=(T(shape=(4, 2, 2, 1)), _c(2, 2), _c(0, 0, 0, 0, shape=(2, 2))),
        outputs=(_IMAGE,),
        options="BatchToSpaceNDOptions",
    ),
    "BROADCAST_TO": Operator(inputs=(ROW, _c(2, 4)), outputs=(T(shape=(2, 4)),), options="BroadcastToOptions"),
    "CAST": Operator(
        inputs=(ROW,),
        outputs=(T(shape=(1, 4), type="int32"),),
        options="CastOptions",
        fields={"inDataType": schema.TensorType.FLOAT32, "outDataType": schema.TensorType.INT32},
    ),
    "CEIL": unary(),
    "CONCATENATION": Operator(
        inputs=(ROW, ROW), outputs=(T(shape=(1, 8)),), options="ConcatenationOptions", fields={"axis": 1}
    ),
    "CONV_2D": Operator(
        inputs=(_IMAGE, _zeros(1, 1, 1, 1), _zeros(1)), outputs=(_IMAGE,), options="Conv2DOptions", fields=_STRIDES
    ),
    "COS": unary("CosOptions"),
    "CUMSUM": Operator(inputs=(ROW, _c(1, shape=())), outputs=(ROW,), options="CumsumOptions"),
    "DEPTHWISE_CONV_2D": Operator(
        inputs=(_IMAGE, _zeros(1, 1, 1, 1), _zeros(1)),
        outputs=(_IMAGE,),
        options="DepthwiseConv2DOptions",
        fields={**_STRIDES, "depthMultiplier": 1},
    ),
    "DEPTH_TO_SPACE": Operator(
        inputs=(T(shape=(1, 2, 2, 4)),), outputs=(_IMAGE,), options="DepthToSpaceOptions", fields={"blockSize": 2}
    ),
    "DEQUANTIZE": Operator(inputs=(T(shape=(1, 4), type="int8"),), outputs=(ROW,), options="DequantizeOptions"),
    "DIV": _binary("DivOptions"),
    "DYNAMIC_UPDATE_SLICE": Operator(inputs=(ROW, T(shape=(1, 2)), T(shape=(2,), type="int32")), outputs=(ROW,)),
    "ELU": unary(),
    "EMBEDDING_LOOKUP": Operator(inputs=(T(shape=(1,), type="int32"), _zeros(3, 2)), outputs=(T(shape=(1, 2)),)),
    "EQUAL": _compare("EqualOptions"),
    "EXP": unary("ExpOptions"),
    "EXPAND_DIMS": Operator(inputs=(ROW, _c(0)), outputs=(T(shape=(1, 1, 4)),), options="ExpandDimsOptions"),
    "FILL": Operator(
        inputs=(_c(1, 4), _c(0.0, shape=(), type="float32")), outputs=(ROW,), options="FillOptions"
    ),
    "FLOOR": unary(),
    "FLOOR_DIV": _binary("FloorDivOptions"),
    "FLOOR_MOD": _binary("FloorModOptions"),
    "FULLY_CONNECTED": Operator(
        inputs=(ROW, _zeros(2, 4), _zeros(2)), outputs=(T(shape=(1, 2)),), options="FullyConnectedOptions"
    ),
    "GATHER": Operator(
        inputs=(ROW, T(shape=(2,), type="int32")), outputs=(T(shape=(1, 2)),), options="GatherOptions", fields={"axis": 1}
    ),
    "GATHER_ND": Operator(
        inputs=(ROW, T(shape=(1, 2), type="int32")), outputs=(T(shape=(1,)),), options="GatherNdOptions"
    ),
    "GELU": unary("GeluOptions"),
    "GREATER": _compare("GreaterOptions"),
    "GREATER_EQUAL": _compare("GreaterEqualOptions"),
    "HARD_SWISH": unary("HardSwishOptions"),
    "L2_NORMALIZATION": unary("L2NormOptions"),
    "LEAKY_RELU": unary("LeakyReluOptions", alpha=0.5),
    "LESS": _compare("LessOptions"),
    "LESS_EQUAL": _compare("LessEqualOptions"),
    "LOG": unary(),
    "LOGICAL_AND": _binary("LogicalAndOptions", _BOOLS, _BOOLS),
    "LOGICAL_NOT": unary("LogicalNotOptions", _BOOLS),
    "LOGICAL_OR": _binary("LogicalOrOptions", _BOOLS, _BOOLS),
    "LOGISTIC": unary(),
    "LOG_SOFTMAX": unary("LogSoftmaxOptions"),
    "MAXIMUM": _binary("MaximumMinimumOptions"),
    "MAX_POOL_2D": unary("Pool2DOptions", _IMAGE, **_POOL),
    "MEAN": _reduce(),
    "MINIMUM": _binary("MaximumMinimumOptions"),
    "MIRROR_PAD": Operator(
        inputs=(ROW, _c(0, 0, 1, 1, shape=(2, 2))), outputs=(T(shape=(1, 6)),), options="MirrorPadOptions"
    ),
    "MUL": _binary("MulOptions"),
    "NEG": unary("NegOptions"),
    "NOT_EQUAL": _compare("NotEqualOptions"),
    "ONE_HOT": Operator(
        inputs=(
            T(shape=(2,), type="int32"),
            _c(3, shape=()),
            _c(1.0, shape=(), type="float32"),
            _c(0.0, shape=(), type="float32"),
        ),
        outputs=(T(shape=(2, 3)),),
        options="OneHotOptions",
        fields={"axis": -1},
    ),
    "PACK": Operator(
        inputs=(ROW, ROW), outputs=(T(shape=(2, 1, 4)),), options="PackOptions", fields={"valuesCount": 2}
    ),
    "PAD": Operator(inputs=(ROW, _c(0, 0, 1, 1, shape=(2, 2))), outputs=(T(shape=(1, 6)),), options="PadOptions"),
    "PADV2": Operator(
        inputs=(ROW, _c(0, 0, 1, 1, shape=(2, 2)), _c(0.0, type="float32")),
        outputs=(T(shape=(1, 6)),),
        options="PadV2Options",
    ),
    "POW": _binary("PowOptions"),
    "PRELU": Operator(inputs=(ROW, _zeros(4)), outputs=(ROW,)),
    "QUANTIZE": Operator(inputs=(ROW,), outputs=(T(shape=(1, 4), type="int8"),), options="QuantizeOptions"),
    "REDUCE_MAX": _reduce(),
    "REDUCE_MIN": _reduce(),
    "RELU": unary(),
    "RELU6": unary(),
    "RELU_0_TO_1": unary(),
    "RELU_N1_TO_1": unary(),
    "RESHAPE": Operator(inputs=(ROW, _c(2, 2)), outputs=(T(shape=(2, 2)),), options="ReshapeOptions"),
    "RESIZE_BILINEAR": Operator(inputs=(_IMAGE, _c(2, 2)), outputs=(T(shape=(1, 2, 2, 1)),), options="ResizeBilinearOptions"),
    "RESIZE_NEAREST_NEIGHBOR": Operator(
        inputs=(_IMAGE, _c(2, 2)), outputs=(T(shape=(1, 2, 2, 1)),), options="ResizeNearestNeighborOptions"
    ),
    "ROUND": unary(),
    "RSQRT": unary(),
    "SELECT": Operator(inputs=(_BOOLS, ROW, ROW), outputs=(ROW,), options="SelectOptions"),
    "SELECT_V2": Operator(inputs=(_BOOLS, ROW, ROW), outputs=(ROW,), options="SelectV2Options"),
    "SHAPE": Operator(
        inputs=(ROW,), outputs=(T(shape=(2,), type="int32"),), options="ShapeOptions", fields={"outType": schema.TensorType.INT32}
    ),
    "SIGN": unary(),
    "SIN": unary(),
    "SLICE": Operator(inputs=(ROW, _c(0, 1), _c(1, 2)), outputs=(T(shape=(1, 2)),), options="SliceOptions"),
    "SOFTMAX": unary("SoftmaxOptions", beta=1.0),
    "SPACE_TO_BATCH_ND": Operator(
        inputs=(_IMAGE, _c(2, 2), _c(0, 0, 0, 0, shape=(2, 2))),
        outputs=(T(shape=(4, 2, 2, 1)),),
        options="SpaceToBatchNDOptions",
    ),
    "SPACE_TO_DEPTH": Operator(
        inputs=(_IMAGE,), outputs=(T(shape=(1, 2, 2, 4)),), options="SpaceToDepthOptions", fields={"blockSize": 2}
    ),
    "SPLIT": Operator(
        inputs=(_c(1, shape=()), ROW),
        outputs=(T(shape=(1, 2)), T(shape=(1, 2))),
        options="SplitOptions",
        fields={"numSplits": 2},
    ),
    "SPLIT_V": Operator(
        inputs=(ROW, _c(1, 3), _c(1, shape=())),
        outputs=(T(shape=(1, 1)), T(shape=(1, 3))),
        options="SplitVOptions",
        fields={"numSplits": 2},
    ),
    "SQRT": unary(),
    "SQUARE": unary("SquareOptions"),
    "SQUARED_DIFFERENCE": _binary("SquaredDifferenceOptions"),
    "SQUEEZE": Operator(inputs=(ROW,), outputs=(T(shape=(4,)),), options="SqueezeOptions", fields={"squeezeDims": [0]}),
    "STABLEHLO_COMPOSITE": Operator(
        inputs=(ROW,),
        outputs=(ROW,),
        options="StableHLOCompositeOptions",
        fields={"name": "one", "decompositionSubgraphIndex": 1, "compositeAttributes": _NO_ATTRIBUTES},
    ),
    "STRIDED_SLICE": Operator(
        inputs=(ROW, _c(0, 0), _c(1, 2), _c(1, 1)), outputs=(T(shape=(1, 2)),), options="StridedSliceOptions"
    ),
    "SUB": _binary("SubOptions"),
    "SUM": _reduce(),
    "TANH": unary(),
    "TILE": Operator(inputs=(ROW, _c(2, 1)), outputs=(T(shape=(2, 4)),), options="TileOptions"),
    "TOPK_V2": Operator(
        inputs=(ROW, _c(2, shape=())),
        outputs=(T(shape=(1, 2)), T(shape=(1, 2), type="int32")),
        options="TopKV2Options",
    ),
    "TRANSPOSE": Operator(inputs=(ROW, _c(1, 0)), outputs=(T(shape=(4, 1)),), options="TransposeOptions"),
    "TRANSPOSE_CONV": Operator(
        inputs=(_c(1, 4, 4, 1), _zeros(1, 1, 1, 1), _IMAGE), outputs=(_IMAGE,), options="TransposeConvOptions", fields=_STRIDES
    ),
    "UNPACK": Operator(
        inputs=(T(shape=(2, 4)),), outputs=(T(shape=(4,)), T(shape=(4,))), options="UnpackOptions", fields={"num": 2}
    ),
}  # fmt: skip
"""By its name in the public schema."""
