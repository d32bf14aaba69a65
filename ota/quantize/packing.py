"""A .tflite as an object that can be changed, and back.

Invariant: a file that is written here holds its weights inside the flatbuffer, each at a multiple of 16 bytes. LiteRT Quantizer puts them behind it,
where runtimes before 2.13 do not look; packing without alignment would cost a copy at load, or a crash on ARM.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from ota.quantize.flatbuffer import IDENTIFIER

_ALIGNMENT = 16
_ROOM = 1 << 16


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns the data of buffers, as the schema's force_align asks for and generated Python code does not."""

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 - the name is flatbuffers'
        if x.dtype == np.uint8:
            self.Prep(4, x.size)
            self.Prep(_ALIGNMENT, x.size)
        return int(super().CreateNumpyVector(x))


def unpacked(content: bytes) -> Any:
    """Return the `ModelT` of the .tflite `content`, with the data of its buffers wherever they were."""
    from ai_edge_litert.tools.flatbuffer_utils import read_model_from_bytearray

    model = read_model_from_bytearray(content)
    for buffer in model.buffers:
        if buffer.data is not None:
            buffer.data = np.frombuffer(buffer.data, np.uint8)
    return model


def packed(model: Any) -> bytes:
    """Return the .tflite of a `ModelT`; it has to stay below 2 GB."""
    room = _ROOM + sum(_ALIGNMENT + len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = _Builder(room)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
