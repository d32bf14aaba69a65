"""The evaluation samples as they travelled, and how they become a network's input."""

from __future__ import annotations

import json
import lzma
import mmap
import os
import zlib
from typing import Any, BinaryIO, Dict, Iterator, List, Optional


class Samples:
    """Samples in the form in which they travelled; `input_bytes` is what one takes as float32."""

    def __init__(self, values: Any, scale: List[float], offset: List[float]) -> None:
        import numpy

        self._values = values
        self._scale = numpy.asarray(scale, numpy.float32)
        self._offset = numpy.asarray(offset, numpy.float32)
        self._plain = scale == [1] and offset == [0]
        self.count = len(values)
        self.shape = list(values.shape[1:])
        self.input_bytes = max(1, 4 * int(values[:1].size))

    def input(self, index: int) -> Any:
        """Return sample `index` as float32 [1, ...]."""
        import numpy

        value = self._values[index : index + 1].astype(numpy.float32)
        return value if self._plain else value * self._scale + self._offset


def load_samples(path: str, shared: Optional[int] = None) -> Samples:
    """Read a dataset: one line of JSON, then the samples, filtered and compressed as that line says.

    `shared` is memory that the processes of several runtimes have in common, a file of no name: the first unpacks into it, the others find the samples there.
    It is a byte longer than the samples once they are all there.

    Raises:
        ValueError: the file holds less, or more, than its header says.
    """
    import numpy

    with open(path, "rb") as file:
        header = json.loads(file.readline(1024 * 1024).decode("utf-8"))
        shape, kind = [header["count"]] + header["shape"], numpy.dtype(header["dtype"]).newbyteorder("<")
        size = int(numpy.prod(shape, dtype=numpy.int64)) * kind.itemsize
        if shared is None or not size:
            values = numpy.empty(shape, kind)
            _unpack(file, header, values)
        else:
            if os.fstat(shared).st_size != size + 1:
                os.ftruncate(shared, size)
                _unpack(file, header, _mapped(shared, size).view(kind).reshape(shape))
                os.ftruncate(shared, size + 1)
            values = _mapped(shared, size).view(kind).reshape(shape)
    return Samples(values, header["scale"], header["offset"])


def _mapped(shared: int, size: int) -> Any:
    import numpy

    return numpy.frombuffer(mmap.mmap(shared, size), numpy.uint8)


def _unpack(file: BinaryIO, header: Dict[str, Any], values: Any) -> None:
    """Fill `values` with the samples that follow the header."""
    import numpy

    target = memoryview(values.reshape(-1).view(numpy.uint8).data)
    filled = 0
    for chunk in _unpacked(file, header["compression"]):
        if filled + len(chunk) > len(target):
            raise ValueError("the dataset holds more than its header says")
        target[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    if filled != len(target):
        raise ValueError("the dataset holds less than its header says")
    if header["filter"] == "sub":
        for sample in values:
            numpy.cumsum(sample, axis=1, dtype=numpy.uint8, out=sample)


def _unpacked(file: BinaryIO, compression: str) -> Iterator[bytes]:
    unpack: Any = {"none": None, "zlib": zlib.decompressobj(), "lzma": lzma.LZMADecompressor()}[compression]
    while True:
        chunk = file.read(1024 * 1024)
        if not chunk:
            return
        yield chunk if unpack is None else unpack.decompress(chunk)
