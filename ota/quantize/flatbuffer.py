"""What a .tflite file says of itself, read from the flatbuffer without TensorFlow.

The file is untrusted: whatever is wrong with it comes out as FlatbufferError, and nothing is read that the file does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.flatbuffer_tables import FlatbufferError
from ota.core.graph import GraphTensor
from ota.quantize.graph import IDENTIFIER, Part, read_parts

__all__ = ["IDENTIFIER", "FlatbufferError", "Network", "Tensor", "read_network"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor's shape (the batch is its first dimension) and its element type, such as `float32`."""

    shape: tuple[int, ...]
    type: str

    def __str__(self) -> str:
        return f"{self.type} [{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The inputs and outputs of a .tflite file; `quantized` says in a few words what in it is quantized, empty for a float file."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    quantized: str = ""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample of the first input, without the batch."""
        return self.inputs[0].shape[1:]

    @property
    def output_count(self) -> int:
        """How many numbers the first output holds for one sample."""
        count = 1
        for size in self.outputs[0].shape[1:]:
            count *= size
        return count


def read_network(content: bytes) -> Network:
    """Return what the .tflite file `content` says of itself; FlatbufferError where it is not one or is cut short."""
    parts = read_parts(content)
    inputs, outputs = (_ends(parts[0], indexes) for indexes in (parts[0].inputs, parts[0].outputs))
    if not inputs or not outputs:
        raise FlatbufferError("it has no input or no output")
    return Network(inputs=inputs, outputs=outputs, quantized=_quantized(inputs, outputs, parts))


def _ends(part: Part, indexes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(Tensor(shape=part.tensors[index].shape, type=part.tensors[index].type) for index in indexes)


def _quantized(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], parts: tuple[Part, ...]) -> str:
    """Say what is quantized: integer inputs or outputs, or weights that are integers with a scale or float16."""
    for word, ends in (("input", inputs), ("output", outputs)):
        for end in ends:
            if end.type in {"uint8", "int8", "int16", "float16"}:
                return f"{end.type} {word}"
    found = (tensor for part in parts for tensor in part.tensors if _quantized_weights(tensor))
    return next((f"{tensor.type} weights" for tensor in found), "")


def _quantized_weights(tensor: GraphTensor) -> bool:
    if not tensor.constant:
        return False
    if tensor.type in {"float16", "bfloat16"}:
        return True
    return tensor.quantization is not None and tensor.type in {
        "uint8",
        "int8",
        "int16",
        "int4",
        "int2",
        "uint4",
    }
