"""Which bytes of a file are differences to which of a base: the file as pieces, each beside its place in the base.

Tensors meet their counterparts through both flatbuffers, wherever they moved; what lies between them goes where its neighbours went. Files that are
no flatbuffers, or have other tensors, meet from their beginnings and from their ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from ota.deltas.layout import Layout, Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """`length` bytes of a file from `start`, in lanes of `width` bytes, and where their counterpart is in the base; None: nowhere."""

    start: int
    length: int
    kind: str
    width: int
    base: int | None


_BETWEEN = ("m", 1)


def align(content: bytes, layout: Layout, base: bytes, base_layout: Layout) -> list[Piece]:
    """Return the pieces of `content` in order, without a gap."""
    twins = _twins(layout.numbers, base_layout.numbers)
    if not twins:
        return _ends(content, base)
    pieces: list[Piece] = []
    place = shift = 0
    for one, there in twins:
        next_shift = there - one.start
        pieces += _between(content, place, one.start, base, (next_shift, shift))
        pieces.append(Piece(start=one.start, length=one.length, kind=one.kind, width=one.width, base=there))
        place, shift = one.start + one.length, next_shift
    return pieces + _between(content, place, len(content), base, (shift, len(base) - len(content)))


def alone(content: bytes, layout: Layout) -> list[Piece]:
    """Return the pieces of `content` beside no base: only numbers of more than a byte are told apart."""
    pieces: list[Piece] = []
    place = 0
    for one in (*layout.numbers, Numbers(len(content), 0, "", 2)):
        if one.width > 1 and place < one.start:
            pieces.append(Piece(start=place, length=one.start - place, kind="m", width=1, base=None))
        if one.width > 1 and one.length:
            pieces.append(
                Piece(start=one.start, length=one.length, kind=one.kind, width=one.width, base=None)
            )
        if one.width > 1:
            place = one.start + one.length
    return pieces


def _twins(numbers: tuple[Numbers, ...], others: tuple[Numbers, ...]) -> list[tuple[Numbers, int]]:
    """Return each run with the start of its counterpart: the next of the same kind and length, in the order of the files."""
    found, place = [], 0
    for one in numbers:
        for index in range(place, len(others)):
            if (others[index].kind, others[index].length) == (one.kind, one.length):
                found.append((one, others[index].start))
                place = index + 1
                break
    return found


def _between(content: bytes, start: int, end: int, base: bytes, shifts: tuple[int, int]) -> list[Piece]:
    """Return what lies between two tensors, beside the part of the base that has most of it."""
    if start >= end:
        return []
    best, same = None, (end - start) // 4
    here = content[start:end]
    for shift in dict.fromkeys(shifts):
        if start + shift < 0:
            continue
        there = base[start + shift : end + shift]
        alike = sum(a == b for a, b in zip(here, there, strict=False))
        if alike > same:
            best, same = start + shift, alike
    return [Piece(start=start, length=end - start, kind=_BETWEEN[0], width=_BETWEEN[1], base=best)]


def _ends(content: bytes, base: bytes) -> list[Piece]:
    """Return the file as what begins as the base does, and the rest, which ends as the base does."""
    most = min(len(content), len(base))
    head = _common(content, base, most)
    if head == most or len(content) == len(base):
        head = most
    pieces = [Piece(start=0, length=head, kind="m", width=1, base=0)] if head else []
    if head < len(content):
        tail = min(len(content) - head, len(base))
        for start, end, there in (
            (head, len(content) - tail, None),
            (len(content) - tail, len(content), len(base) - tail),
        ):
            if start < end:
                pieces.append(Piece(start=start, length=end - start, kind="m", width=1, base=there))
    return pieces


def _common(content: bytes, base: bytes, most: int) -> int:
    """Return how many bytes both begin with, found by halving."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if content[:middle] == base[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
