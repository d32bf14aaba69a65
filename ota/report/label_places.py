"""Where the labels of a scatter go so that none lies on another: greedily, the first label first, as near to its point as there is room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
_RADII = (7.0, 14.0, 24.0, 36.0, 50.0, 66.0, 84.0, 104.0)
_MARKER = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An upright rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def covers(self, other: Box) -> float:
        """Return the area that both share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A label's place against its point: the offset of its nearest edge or corner, and to which side (-1, 0, 1) of the point it lies; `near`: no line is needed."""

    offset: tuple[float, float]
    side: tuple[int, int]
    near: bool


def places(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], frame: Box
) -> list[Place]:
    """Return a place for the label of each point, all in one unit; `sizes` are the labels' widths and heights. Where there is no room the least bad is taken."""
    taken = [Box(left=x - _MARKER, bottom=y - _MARKER, right=x + _MARKER, top=y + _MARKER) for x, y in points]
    chosen = []
    for point, size in zip(points, sizes, strict=True):
        place, box = min(_offers(point, size), key=lambda offer: _cost(offer[1], taken, frame))
        chosen.append(place)
        taken.append(box)
    return chosen


def _offers(point: tuple[float, float], size: tuple[float, float]) -> Iterator[tuple[Place, Box]]:
    """Yield the places for one label and what each covers, nearest first."""
    for radius in _RADII:
        for across, up in _DIRECTIONS:
            offset = (radius * across, radius * up * 0.75)
            left = point[0] + offset[0] + (across - 1) / 2 * size[0]
            bottom = point[1] + offset[1] + (up - 1) / 2 * size[1]
            place = Place(offset=offset, side=(across, up), near=radius == _RADII[0])
            yield place, Box(left=left, bottom=bottom, right=left + size[0], top=bottom + size[1])


def _cost(box: Box, taken: Sequence[Box], frame: Box) -> float:
    """Return the area that is on something else, or out of the frame."""
    whole = (box.right - box.left) * (box.top - box.bottom)
    return sum(box.covers(other) for other in taken) + 2 * (whole - box.covers(frame))
