"""Tables of a flatbuffer, read from bytes that nobody vouches for.

Invariants: nothing outside the file is read; no more entries are read than a file of its length can hold, so that a few crafted bytes cannot keep
us busy; whatever is wrong is a FlatbufferError. The layout is that of the public FlatBuffers format ("FlatBuffers internals"). The library's own
Python reader neither checks an offset nor works without NumPy, hence this one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SLACK = 65_536
_MOST_ENTRIES = 8_000_000
_LONGEST_TEXT = 4_096


class FlatbufferError(ValueError):
    """The bytes are not a complete .tflite file; the message is one clause."""


class Content:
    """The file's bytes and how many entries may still be read from them."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._left = min(len(content) + _SLACK, _MOST_ENTRIES)

    def root(self) -> Table:
        """Return the table that the file begins with."""
        return Table(self, self.unsigned(0))

    def unsigned(self, place: int) -> int:
        """Return the 32-bit number at `place`."""
        return self._number("<I", place)

    def signed(self, place: int) -> int:
        """Return the signed 32-bit number at `place`."""
        return self._number("<i", place)

    def short(self, place: int) -> int:
        """Return the 16-bit number at `place`."""
        return self._number("<H", place)

    def numbers(self, form: str, place: int, count: int) -> tuple[int, ...]:
        """Return `count` numbers of the `struct` form `form`."""
        self.spend(count)
        end = place + count * struct.calcsize(form)
        if place < 0 or end > len(self.content):
            raise FlatbufferError("the file is cut short or damaged")
        return struct.unpack_from(f"<{count}{form}", self.content, place)

    def spend(self, count: int) -> None:
        """Note that `count` entries are read."""
        self._left -= count
        if self._left < 0:
            raise FlatbufferError("a list in it is too long to be true")

    def _number(self, form: str, place: int) -> int:
        if place < 0 or place + struct.calcsize(form) > len(self.content):
            raise FlatbufferError("the file is cut short or damaged")
        return int(struct.unpack_from(form, self.content, place)[0])


class Table:
    """One table; fields are asked for by their number in the schema, and one that is not there has its default."""

    __slots__ = ("_content", "_fields", "_fields_end", "_place")

    def __init__(self, content: Content, place: int) -> None:
        content.spend(1)
        self._content = content
        self._place = place
        self._fields = place - content.signed(place)
        self._fields_end = content.short(self._fields)

    def scalar(self, number: int, form: str, default: int = 0) -> int:
        """Return a number of the `struct` form `form`."""
        place = self._field(number)
        return self._content.numbers(form, place, 1)[0] if place else default

    def table(self, number: int) -> Table | None:
        """Return the table that a field points to."""
        place = self._target(number)
        return Table(self._content, place) if place else None

    def tables(self, number: int) -> Iterator[Table]:
        """Yield the tables of a vector."""
        place = self._target(number)
        if place:
            count = self._content.unsigned(place)
            offsets = self._content.numbers("I", place + 4, count)
            for index, offset in enumerate(offsets):
                yield Table(self._content, place + 4 + 4 * index + offset)

    def length(self, number: int) -> int:
        """Return how many entries a vector has; 0 where it is not there."""
        place = self._target(number)
        return self._content.unsigned(place) if place else 0

    def span(self, number: int, width: int = 1) -> tuple[int, int]:
        """Return where a vector's entries of `width` bytes begin and how many bytes they are; (0, 0) where it is not there."""
        place, count = self._target(number), self.length(number)
        if not count:
            return 0, 0
        if place + 4 + count * width > len(self._content.content):
            raise FlatbufferError("the file is cut short or damaged")
        return place + 4, count * width

    def numbers(self, number: int, form: str, most: int | None = None) -> tuple[int, ...]:
        """Return a vector of numbers, or its first `most`."""
        count = self.length(number)
        if not count:
            return ()
        return self._content.numbers(
            form, self._target(number) + 4, count if most is None else min(most, count)
        )

    def bytes_of(self, number: int, most: int) -> bytes:
        """Return the first `most` bytes of a vector of bytes, all of which must be in the file."""
        place, count = self._target(number), self.length(number)
        if place + 4 + count > len(self._content.content):
            raise FlatbufferError("the file is cut short or damaged")
        return self._content.content[place + 4 : place + 4 + min(count, most)] if count else b""

    def text(self, number: int) -> str:
        """Return a string, its first 4,096 bytes; what is no UTF-8 in it is replaced."""
        found = self.bytes_of(number, _LONGEST_TEXT)
        self._content.spend(len(found) // 16)
        return found.decode("utf-8", "replace")

    def _field(self, number: int) -> int:
        """Return where a field is; 0 where it is not."""
        slot = 4 + 2 * number
        if slot + 2 > self._fields_end:
            return 0
        offset = self._content.short(self._fields + slot)
        return self._place + offset if offset else 0

    def _target(self, number: int) -> int:
        place = self._field(number)
        return place + self._content.unsigned(place) if place else 0
