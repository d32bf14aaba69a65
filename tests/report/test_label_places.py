"""Labels of a scatter: beside their points, never on one another while there is room."""

from __future__ import annotations

import itertools

import pytest

from ota.report.label_places import Box, Place, places

FRAME = Box(left=0, bottom=0, right=400, top=300)
CLUSTERS = {
    "apart": [(50.0, 50.0), (200.0, 150.0), (300.0, 250.0)],
    "two on one another": [(200.0, 150.0), (200.0, 150.0)],
    "a crowd": [(200.0 + 3 * at, 150.0 + at % 5) for at in range(12)],
    "in the corners": [(2.0, 2.0), (398.0, 2.0), (2.0, 298.0), (398.0, 298.0)],
}


def box_of(point: tuple[float, float], size: tuple[float, float], place: Place) -> Box:
    """Return what a label covers at its place."""
    left = point[0] + place.offset[0] + (place.side[0] - 1) / 2 * size[0]
    bottom = point[1] + place.offset[1] + (place.side[1] - 1) / 2 * size[1]
    return Box(left=left, bottom=bottom, right=left + size[0], top=bottom + size[1])


@pytest.mark.parametrize("points", CLUSTERS.values(), ids=CLUSTERS.keys())
def test_labels_lie_on_nothing(points: list[tuple[float, float]]) -> None:
    """No label covers another or leaves the frame."""
    size = (60.0, 11.0)
    boxes = [
        box_of(point, size, place)
        for point, place in zip(points, places(points, [size] * len(points), FRAME), strict=True)
    ]
    assert all(one.covers(other) == 0 for one, other in itertools.combinations(boxes, 2))
    assert all(box.covers(FRAME) == pytest.approx(60 * 11) for box in boxes)


def test_a_lonely_label_stands_beside_its_point() -> None:
    """Where nothing is near, the label lies right of its point and needs no line."""
    (place,) = places([(200.0, 150.0)], [(60.0, 11.0)], FRAME)
    assert place == Place(offset=(7.0, 0.0), side=(1, 0), near=True)


def test_where_there_is_no_room_each_still_has_a_place() -> None:
    """More labels than the frame holds are all placed."""
    assert len(places([(5.0, 5.0)] * 40, [(60.0, 11.0)] * 40, Box(left=0, bottom=0, right=10, top=10))) == 40
