"""A file made again from an encoding of it: its difference to a file that is here, or that of nothing, which is compression.

The form, version 1: `OTD1`; three bytes, the length of the script, lowest first; the script; sections behind it, in the order in which the script
counts them. Script and sections are raw LZMA2 with a dictionary of DICTIONARY bytes. The script's numbers are of seven bits a byte, lowest first:

    size of the file
    channels, each: width of a lane (1, 2 or 4 bytes), then for each byte of a lane, lowest first, how that plane is kept:
        0 all zeros | 1 dense: section | 2 sparse: section of gaps, section of values | 3 by class: classes, (run, class)... for 256 bytes, sections
    segments, each: channel + 1, or 0 for a copy; bytes; where in the base: 0 nowhere, else 1 + zigzag(place - (place in the file + last shift))
    products, each: place in the file, count of float32, place of the factors in the file, the other factor as float32

A lane of the file is the base's lane (zeros where there is none) plus the difference, whose lowest bit is its sign (zigzag). A gap is the count of zeros
before the next value, 255 meaning 255 and no value yet. A plane by class takes each byte from the section of the class that the top byte of the base's
lane has. Products come last: float32 factors times one factor, as a bias's scales are the input's times the weights'.

Invariants: no more than a few buffers and dictionaries are held; nothing is written outside the size that was asked for; whatever is wrong is a
DeltaError, or a file with another SHA-256: only that decides.
"""

from __future__ import annotations

import lzma
import struct
from itertools import chain
from typing import Any, Callable, Iterator, List, NamedTuple, Tuple

MAGIC = b"OTD1"
DICTIONARY = 256 * 1024
BUFFER = 256 * 1024
MAX_SCRIPT = 1024 * 1024
MAX_SECTIONS = 64
FILTERS = [{"id": lzma.FILTER_LZMA2, "dict_size": DICTIONARY}]
_HEAD = len(MAGIC) + 3
_ZERO, _DENSE, _SPARSE, _CLASSES = range(4)
_NEVER = 1 << 62

Read = Callable[[int, int], bytes]
"""Returns at most so many bytes from an offset, none at the end."""
Write = Callable[[bytes, int], None]


class DeltaError(Exception):
    """An encoding that cannot be decoded; the message is one clause."""


class _Segment(NamedTuple):
    channel: int
    length: int
    base: int


class _Product(NamedTuple):
    place: int
    lanes: int
    factors: int
    factor: float


def decode(encoded: Read, base: Read, size: int, write: Write, result: Read) -> None:
    """Make the file of `size` bytes from `encoded` and `base`; `write` takes its bytes at their offsets, `result` reads back what was written.

    Raises:
        DeltaError: it is no such encoding, is cut short, or is of a file of another size.
    """
    try:
        _Decoder(encoded, size).run(base, write, result)
    except (lzma.LZMAError, struct.error, OverflowError, IndexError) as error:
        raise DeltaError("it cannot be decoded: %s" % error) from error


class _Decoder:
    """The script, read and checked; nothing of the sections is read yet."""

    def __init__(self, encoded: Read, size: int) -> None:
        head = encoded(_HEAD, 0)
        if len(head) < _HEAD or head[: len(MAGIC)] != MAGIC:
            raise DeltaError("it does not begin as an encoding does")
        length = int.from_bytes(head[len(MAGIC) :], "little")
        self._encoded = encoded
        self._place = _HEAD + length
        self._sections = 0
        script = _Script(_script(_Section(encoded, _HEAD, length)))
        if script.number() != size:
            raise DeltaError("it is of a file of another size")
        self._channels = [self._channel(script) for _ in range(script.number(MAX_SECTIONS))]
        self._segments = _segments(script, size, [channel.width for channel in self._channels])
        self._products = [_product(script, size) for _ in range(script.number(MAX_SCRIPT))]

    def run(self, base: Read, write: Write, result: Read) -> None:
        """Write the file."""
        place = 0
        for segment in self._segments:
            for done in range(0, segment.length, BUFFER):
                count = min(BUFFER, segment.length - done)
                here = b"" if segment.base < 0 else base(count, segment.base + done)
                here += bytes(count - len(here))
                write(self._channels[segment.channel].next(here) if segment.channel >= 0 else here, place)
                place += count
        for product in self._products:
            for done in range(0, 4 * product.lanes, BUFFER):
                count = min(BUFFER, 4 * product.lanes - done)
                factors = struct.unpack("<%df" % (count // 4), result(count, product.factors + done))
                lanes = struct.pack("<%df" % len(factors), *(one * product.factor for one in factors))
                write(lanes, product.place + done)

    def _channel(self, script: "_Script") -> "_Channel":
        width = script.number(4)
        if width not in (1, 2, 4):
            raise DeltaError("a lane of %d bytes is none" % width)
        return _Channel([self._plane(script) for _ in range(width)])

    def _plane(self, script: "_Script") -> Any:
        form = script.number()
        if form == _ZERO:
            return _Zero()
        if form == _DENSE:
            return _Dense(self._section(script))
        if form == _SPARSE:
            return _Sparse(self._section(script), self._section(script))
        if form != _CLASSES:
            raise DeltaError("a plane of the form %d is unknown" % form)
        classes, table = script.number(MAX_SECTIONS), bytearray()
        while len(table) < 256:
            run, kind = script.number(256), script.number(MAX_SECTIONS)
            if not run or kind >= classes:
                raise DeltaError("its table of classes is damaged")
            table += bytes([kind]) * run
        return _Classes(bytes(table[:256]), [self._section(script) for _ in range(classes)])

    def _section(self, script: "_Script") -> "_Section":
        self._sections += 1
        if self._sections > MAX_SECTIONS:
            raise DeltaError("it has more than %d sections" % MAX_SECTIONS)
        length = script.number()
        found = _Section(self._encoded, self._place, length)
        self._place += length
        return found


class _Script:
    """The script's numbers, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def number(self, most: int = (1 << 40) - 1) -> int:
        """Return the next number; DeltaError where it is greater than `most`."""
        value = shift = 0
        while shift <= 40:
            byte = self.raw(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                if value > most:
                    break
                return value
            shift += 7
        raise DeltaError("a number in it is too great")

    def raw(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        self._place += count
        if self._place > len(self._content):
            raise DeltaError("its script is cut short")
        return self._content[self._place - count : self._place]


def _script(section: "_Section") -> bytes:
    script = section.take(MAX_SCRIPT + 1, short=True)
    if len(script) > MAX_SCRIPT:
        raise DeltaError("its script is longer than %d bytes" % MAX_SCRIPT)
    return script


def _segments(script: _Script, size: int, widths: List[int]) -> List[_Segment]:
    """Return the segments, which fill the file exactly."""
    found, place, shift = [], 0, 0
    for _ in range(script.number(MAX_SCRIPT)):
        channel, length, base = script.number(len(widths)) - 1, script.number(size - place), script.number()
        if not length or (channel >= 0 and length % widths[channel]):
            raise DeltaError("a segment of %d bytes is none" % length)
        if base:
            shift += ((base - 1) >> 1) ^ -((base - 1) & 1)
            if place + shift < 0:
                raise DeltaError("a segment begins before the base does")
        found.append(_Segment(channel, length, place + shift if base else -1))
        place += length
    if place != size:
        raise DeltaError("its segments are of %d bytes, the file of %d" % (place, size))
    return found


def _product(script: _Script, size: int) -> _Product:
    place, count, factors = script.number(size), script.number(size), script.number(size)
    if max(place, factors) + 4 * count > size:
        raise DeltaError("a product lies outside the file")
    return _Product(place, count, factors, struct.unpack("<f", script.raw(4))[0])


class _Section:
    """One stream of bytes, decompressed as it is asked for."""

    def __init__(self, encoded: Read, start: int, length: int) -> None:
        self._pieces = _pieces(encoded, start, start + length)
        self._rest = b""

    def take(self, count: int, *, short: bool = False) -> bytes:
        """Return the next `count` bytes; fewer at the end where it may be `short`."""
        parts, missing = [self._rest[:count]], count - len(self._rest)
        self._rest = self._rest[count:]
        while missing > 0:
            piece = next(self._pieces, b"")
            if not piece:
                if short:
                    break
                raise DeltaError("a section is cut short")
            parts.append(piece[:missing])
            self._rest = piece[missing:]
            missing -= len(piece)
        return b"".join(parts)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._pieces)


def _pieces(encoded: Read, start: int, end: int) -> Iterator[bytes]:
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS)
    while not decompressor.eof:
        packed = b""
        if decompressor.needs_input:
            packed = encoded(min(BUFFER // 4, end - start), start)
            if not packed:
                raise DeltaError("a section is cut short")
            start += len(packed)
        piece = decompressor.decompress(packed, BUFFER // 4)
        if piece:
            yield piece


class _Zero:
    def next(self, tops: bytes) -> bytes:
        return bytes(len(tops))


class _Dense:
    def __init__(self, section: _Section) -> None:
        self._section = section

    def next(self, tops: bytes) -> bytes:
        return self._section.take(len(tops))


class _Sparse:
    """`_zeros` are still to come before the next value; -1: the first gap is not read yet."""

    def __init__(self, gaps: _Section, values: _Section) -> None:
        self._gaps, self._values = iter(gaps), iter(values)
        self._zeros = -1

    def next(self, tops: bytes) -> bytes:
        plane, count = bytearray(len(tops)), len(tops)
        gaps, values = self._gaps, self._values
        place = self._zeros if self._zeros >= 0 else self._gap()
        try:
            while place < count:
                plane[place] = next(values)
                gap = next(gaps, _NEVER)
                while gap == 255:
                    place += 255
                    gap = next(gaps, _NEVER)
                place += 1 + gap
        except StopIteration:
            raise DeltaError("a section is cut short") from None
        self._zeros = place - count
        return bytes(plane)

    def _gap(self) -> int:
        total = 0
        for gap in self._gaps:
            total += gap
            if gap < 255:
                break
        return total


class _Classes:
    def __init__(self, table: bytes, sections: List[_Section]) -> None:
        self._table = table
        self._of = [iter(section) for section in sections]

    def next(self, tops: bytes) -> bytes:
        # One loop in C: each byte from the section that its class has.
        plane = bytes(map(next, map(self._of.__getitem__, tops.translate(self._table))))
        if len(plane) != len(tops):
            raise DeltaError("a section is cut short")
        return plane


class _Channel:
    """Lanes of one width, whose differences are kept plane by plane."""

    def __init__(self, planes: List[Any]) -> None:
        self.width = len(planes)
        self._planes = planes
        self._masks = (-1, (0, 0, 0))

    def next(self, base: bytes) -> bytes:
        """Return the file's next lanes over those of the base."""
        width = self.width
        tops = base[width - 1 :: width]
        difference = bytearray(len(base))
        for place, plane in enumerate(self._planes):
            difference[place::width] = plane.next(tops)
        return self._sum(base, difference)

    def _sum(self, base: bytes, difference: bytearray) -> bytes:
        """Add all lanes at once, as two numbers of many digits: no carry leaves its lane."""
        if not any(difference):
            return base
        ones, low, signs = self._masks_of(len(base))
        folded = int.from_bytes(difference, "little")
        plus = ((folded >> 1) & low) ^ ((folded & ones) * ((1 << 8 * self.width) - 1))
        to = int.from_bytes(base, "little")
        total = ((plus & low) + (to & low)) ^ ((plus ^ to) & signs)
        return total.to_bytes(len(base), "little")

    def _masks_of(self, count: int) -> Tuple[int, int, int]:
        """Return the lowest bit of each lane, all bits but the highest, and the highest."""
        if self._masks[0] != count:
            ones = int.from_bytes((b"\1" + bytes(self.width - 1)) * (count // self.width), "little")
            top = 8 * self.width - 1
            self._masks = (count, (ones, ones * ((1 << top) - 1), ones << top))
        return self._masks[1]
