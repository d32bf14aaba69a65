"""Encodings of a file: its difference to a base, or itself compressed, in the form that `ota/agent/delta.py` describes.

What was measured and kept: pieces of one kind share their streams; lanes of two and four bytes are split into planes; few differences are kept as
gaps and values, which costs within a hundredth of their entropy, where xz on zeros costs a fifth more; a float's difference is told apart by the
exponent of what it differs from; a bias's scales follow from other scales. Dropped, for they cost bytes: foretelling weights by the change of their scale, and
telling int8 weights apart by their magnitude. An adaptive coder in Python would save a twentieth and take a Raspberry Pi some seconds.

NumPy is loaded with this module: load it when a file is to be sent. Nothing here is random and no clock is read: equal files have equal encodings.
"""

from __future__ import annotations

import itertools
import lzma
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ota.core.wire import Foretold
from ota.deltas.align import Piece, align, alone
from ota.deltas.layout import Layout, Product, layout_of

MAGIC = b"OTD1"
DICTIONARY = 256 * 1024
"""Bytes that a decoder holds for each section; the agent has the same number, and a test compares them."""

_Bytes = NDArray[np.uint8]
_ZERO, _DENSE, _SPARSE, _CLASSES = range(4)
_MOST_CLASSES = 10
_LEAST_SHARE = 0.02
_SPARSE_BELOW = 0.6
_NOISE_BITS = 7.95
_BUSY_BITS, _BUSY = 5.0, 4
"""A plane with less entropy has repeats to look for, and is tried in several ways: so many times the work."""
_WAYS = ((0, 0), (4, 0), (3, 2))
"""Settings of LZMA, its lc and pb."""
_CHUNK = 1 << 16
_MOST_LANES = 1 << 20
_BLOCKS, _BLOCK = 16, 4096
"""What a foretelling looks at: of a channel so many lanes at most, and for repeats so many blocks of each plane, spread over it."""


@dataclass(frozen=True, slots=True)
class _Plane:
    """How a plane is kept: the script's words for it, without the lengths of its sections, and the sections."""

    words: bytes
    sections: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        return sum(len(section) for section in self.sections) + len(self.words)


def delta(content: bytes, base: bytes) -> bytes:
    """Return the difference of `content` to `base`."""
    layout = layout_of(content)
    pieces = align(content, layout, base, layout_of(base))
    return _encoded(content, base, pieces, _true_products(content, layout))


def packed(content: bytes) -> bytes:
    """Return `content` compressed, numbers in planes or all as it lies, whichever promises to be shorter."""
    return _encoded(content, b"", _apart_or_not(content)[0], ())


def foretold(content: bytes, base: bytes | None) -> Foretold:
    """Return what `delta` would make, or `packed` where `base` is None, as far as a tenth of the time can tell."""
    if base is None:
        return _apart_or_not(content)[1]
    layout = layout_of(content)
    pieces = align(content, layout, base, layout_of(base))
    return _foretold(content, base, pieces, _true_products(content, layout))


def _foretold(
    content: bytes, base: bytes, pieces: Sequence[Piece], products: Sequence[Product] = ()
) -> Foretold:
    _, channels = _segments(content, base, pieces, products)
    planes = [plane for channel in channels for plane in channel.foretold()]
    return Foretold(
        size_bytes=sum(plane.size_bytes for plane in planes) + len(pieces),
        work_bytes=sum(plane.work_bytes for plane in planes),
    )


def _apart_or_not(content: bytes) -> tuple[Sequence[Piece], Foretold]:
    """Return the pieces of `content` beside no base, with what they promise."""
    ways = [alone(content, layout) for layout in dict.fromkeys((layout_of(content), Layout()))]
    return min(((way, _foretold(content, b"", way)) for way in ways), key=lambda pair: pair[1].size_bytes)


def _encoded(content: bytes, base: bytes, pieces: Sequence[Piece], products: Sequence[Product]) -> bytes:
    segments, channels = _segments(content, base, pieces, products)
    script = bytearray(_number(len(content)) + _number(len(channels)))
    sections: list[bytes] = []
    for channel in channels:
        script += _number(channel.width)
        for plane in channel.planes():
            script += plane.words
            script += b"".join(_number(len(section)) for section in plane.sections)
            sections += plane.sections
    script += _number(len(segments))
    place = shift = 0
    for number, length, there in segments:
        script += _number(number) + _number(length)
        script += _number(0 if there is None else 1 + _folded(there - place - shift))
        shift = shift if there is None else there - place
        place += length
    script += _number(len(products))
    for product in products:
        script += _number(product.place) + _number(product.count) + _number(product.factors)
        script += content[product.factor : product.factor + 4]
    head = _lzma(bytes(script))
    return MAGIC + len(head).to_bytes(3, "little") + head + b"".join(sections)


class _Channel:
    """What all pieces of one kind add up to: lanes of the file and of the base."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._content: list[bytes] = []
        self._base: list[bytes] = []

    def add(self, content: bytes, base: bytes) -> None:
        """Append a piece, and what is at its counterpart, zeros where there is none."""
        self._content.append(content)
        self._base.append(base.ljust(len(content), b"\0"))

    def planes(self) -> list[_Plane]:
        """Return each byte of the lanes' differences, lowest first."""
        return [_plane(*plane) for plane in self._apart(*self._lanes())]

    def foretold(self) -> list[Foretold]:
        """Return what each plane will take, by its entropy and by how some of its blocks compress."""
        content, base = self._lanes()
        step = max(1, len(content) // _MOST_LANES)
        if step > 1:
            rows = len(content) // (step * _BLOCK)
            content, base = (
                lanes[: rows * step * _BLOCK].reshape(rows, -1)[:, :_BLOCK].ravel()
                for lanes in (content, base)
            )
        return [_foretold_plane(*plane, step) for plane in self._apart(content, base)]

    def _lanes(self) -> tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]]:
        form = f"<u{self.width}"
        return np.frombuffer(b"".join(self._content), form), np.frombuffer(b"".join(self._base), form)

    def _apart(
        self, content: NDArray[np.unsignedinteger], base: NDArray[np.unsignedinteger]
    ) -> Iterator[tuple[_Bytes, _Bytes, _Bytes | None]]:
        """Yield each plane of the lanes' differences, with the top bytes of the base and the classes of these."""
        difference = content - base
        top = 8 * self.width - 1
        folded = (difference << 1) ^ (-(difference >> top)).astype(content.dtype)
        split = folded.astype(content.dtype).view(np.uint8).reshape(-1, self.width)
        tops = base.view(np.uint8).reshape(-1, self.width)[:, -1]
        table = _table(tops, split) if self.width > 1 else None
        for number in range(self.width):
            yield np.ascontiguousarray(split[:, number]), tops, table


_Segment = tuple[int, int, int | None]
"""Number of the channel (0: a copy), length, and where in the base."""


def _segments(
    content: bytes, base: bytes, pieces: Sequence[Piece], products: Sequence[Product]
) -> tuple[list[_Segment], list[_Channel]]:
    """Return what becomes of each piece; copies that follow each other are one."""
    made = {product.place for product in products}
    numbers: dict[tuple[str, int], int] = {}
    channels: list[_Channel] = []
    segments: list[_Segment] = []
    for piece in pieces:
        here = content[piece.start : piece.start + piece.length]
        there = b"" if piece.base is None else base[piece.base : piece.base + piece.length]
        if piece.start in made or here == there:
            _append(segments, (0, piece.length, piece.base))
            continue
        key = (piece.kind if piece.base is not None else f"{piece.kind} alone", piece.width)
        if key not in numbers:
            channels.append(_Channel(piece.width))
            numbers[key] = len(channels)
        channels[numbers[key] - 1].add(here, there)
        _append(segments, (numbers[key], piece.length, piece.base))
    return segments, channels


def _append(segments: list[_Segment], segment: _Segment) -> None:
    """Append a segment, to the last one where it goes on with that."""
    number, length, there = segment
    if segments:
        last, before, at = segments[-1]
        goes_on = at is None if there is None else at is not None and at + before == there
        if last == number and goes_on:
            segments[-1] = (number, before + length, at)
            return
    segments.append(segment)


def _true_products(content: bytes, layout: Layout) -> list[Product]:
    """Return the products that hold to the last bit, each place once, none of whose factors is such a place itself."""
    found: dict[int, Product] = {}
    starts = {numbers.start: numbers.length for numbers in layout.numbers}
    for product in layout.products:
        factors = np.frombuffer(content, "<f4", product.count, product.factors)
        factor = np.frombuffer(content, "<f4", 1, product.factor)
        lanes = (factors.astype(np.float64) * factor.astype(np.float64)).astype("<f4")
        holds = lanes.tobytes() == content[product.place : product.place + 4 * product.count]
        if holds and np.isfinite(lanes).all() and starts.get(product.place) == 4 * product.count:
            found.setdefault(product.place, product)
    sources = {product.factors for product in found.values()}
    return [product for product in found.values() if product.place not in sources]


def _plane(plane: _Bytes, tops: _Bytes, table: _Bytes | None) -> _Plane:
    """Return the shortest way to keep a plane; the outcome of what costs time is estimated first."""
    set_ = int(np.count_nonzero(plane))
    if not set_:
        return _Plane(_number(_ZERO))
    whole = _bits(plane)
    if whole > _NOISE_BITS:
        return _Plane(_number(_DENSE), (_stored(plane.tobytes()),))
    kept = [_Plane(_number(_DENSE), (_lzma(plane.tobytes()),))]
    if set_ < _SPARSE_BELOW * len(plane):
        kept.append(_sparse(plane))
    if table is not None and _bits_by_class(plane, table[tops]) < 0.99 * whole:
        kept.append(_by_class(plane, tops, table))
    return min(kept, key=lambda one: one.size)


def _foretold_plane(plane: _Bytes, tops: _Bytes, table: _Bytes | None, step: int) -> Foretold:
    """Return what a plane will take, by one of `step` parts of it; noise is no work, nor is what is the same."""
    size, bits = step * len(plane), _bits(plane)
    if bits > _NOISE_BITS:
        return Foretold(size_bytes=size, work_bytes=0)
    if table is not None:
        bits = min(bits, _bits_by_class(plane, table[tops]))
    some = _blocks(plane)
    if some:
        bits = min(bits, 8 * len(zlib.compress(some, 1)) / len(some))
    work = 0 if not bits else size if bits > _BUSY_BITS else _BUSY * size
    return Foretold(size_bytes=int(bits * size / 8), work_bytes=work)


def _sparse(plane: _Bytes) -> _Plane:
    places = np.flatnonzero(plane)
    gaps = np.diff(places, prepend=-1) - 1
    longs, rest = np.divmod(gaps, 255)
    coded = np.full(int(longs.sum()) + len(gaps), 255, np.uint8)
    coded[np.cumsum(longs + 1) - 1] = rest
    return _Plane(_number(_SPARSE), (_lzma(coded.tobytes()), _lzma(plane[places].tobytes())))


def _by_class(plane: _Bytes, tops: _Bytes, table: _Bytes) -> _Plane:
    classes = table[tops]
    count = int(table.max()) + 1
    words = _number(_CLASSES) + _number(count)
    edges = [0, *(np.flatnonzero(np.diff(table.astype(int))) + 1).tolist(), 256]
    for start, end in itertools.pairwise(edges):
        words += _number(end - start) + _number(int(table[start]))
    return _Plane(words, tuple(_lzma(plane[classes == one].tobytes()) for one in range(count)))


def _table(tops: _Bytes, split: _Bytes) -> _Bytes | None:
    """Return the class of each value of the base's top byte: exponents in order, those of few lanes with their neighbours; None for one class alone."""
    width = split.shape[1]
    exponent = (np.arange(256) & 127) >> (2 if width == 2 else 0)
    counts = np.bincount(exponent[tops], minlength=128)
    share = max(_LEAST_SHARE, 1 / _MOST_CLASSES / 2) * len(tops)
    of, number, held = np.zeros(128, np.uint8), 0, 0
    for one in range(128):
        if held >= share and counts[one:].sum() >= share:
            number, held = number + 1, 0
        of[one] = number
        held += int(counts[one])
    return None if number == 0 else of[exponent]


def _bits(plane: _Bytes) -> float:
    """Return the entropy of one byte, each for itself."""
    counts = np.bincount(plane, minlength=256)
    shares = counts[counts > 0] / max(len(plane), 1)
    return float(-(shares * np.log2(shares)).sum())


def _bits_by_class(plane: _Bytes, classes: _Bytes) -> float:
    parts = (plane[classes == one] for one in np.unique(classes))
    return sum(_bits(part) * len(part) for part in parts) / max(len(plane), 1)


def _lzma(content: bytes) -> bytes:
    """Return raw LZMA2, of a few settings by the one that some blocks are shortest with."""
    some = content if len(content) <= 2 * _BLOCKS * _BLOCK else _blocks(np.frombuffer(content, np.uint8))
    way = min(_WAYS, key=lambda one: len(_compressed(some, *one)))
    return _compressed(content, *way)


def _compressed(content: bytes, lc: int, pb: int) -> bytes:
    way = {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": DICTIONARY, "lc": lc, "lp": 0, "pb": pb}
    return lzma.compress(content, lzma.FORMAT_RAW, filters=[way])


def _stored(content: bytes) -> bytes:
    """Return noise as raw LZMA2 that holds it as it is, chunk by chunk: the encoder would find that out in a tenth of a second a megabyte."""
    chunks = [content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK)]
    heads = (
        bytes([2 if number else 1]) + (len(one) - 1).to_bytes(2, "big") for number, one in enumerate(chunks)
    )
    return b"".join(part for pair in zip(heads, chunks, strict=True) for part in pair) + b"\0"


def _blocks(plane: _Bytes) -> bytes:
    """Return some blocks of a plane, spread over it; all of it where it is short, nothing where it is no block."""
    blocks = plane[: len(plane) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    return blocks[:: max(1, len(blocks) // _BLOCKS)].tobytes()


def _number(value: int) -> bytes:
    """Return a number, seven bits a byte, lowest first."""
    coded = bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    return bytes(coded) + bytes([value])


def _folded(value: int) -> int:
    """Return a signed number as an unsigned one, its sign the lowest bit."""
    return 2 * value if value >= 0 else -2 * value - 1
