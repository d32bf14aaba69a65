"""Which form of a file crosses: by its sizes and by what is known of the link."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from ota.core.release import Digest
from ota.core.wire import Encoding, Link, preferred, worth_encoding

MB = 1_000_000


def form(size: int, *, base: bool = False) -> Encoding:
    """Return an encoding of that size."""
    digest = Digest.of(str(size).encode())
    return Encoding(path=PurePath("x"), digest=digest, size_bytes=size, base=digest if base else None)


@pytest.mark.parametrize(
    ("size", "link", "worth"),
    [
        (MB, Link(), True),
        (MB, Link(round_trip_s=0.3), True),
        (MB, Link(round_trip_s=0.001), False),
        (10 * MB, Link(round_trip_s=0.001), True),
        (MB, Link(round_trip_s=0.3, bytes_per_s=50e6), False),
        (MB, Link(round_trip_s=0.001, bytes_per_s=125e3), True),
        (1000, Link(), False),
    ],
)
def test_a_short_transfer_is_left_as_it_is(size: int, link: Link, worth: bool) -> None:
    """A file that crosses within half a second is not encoded; what was measured counts for more than the round trip."""
    assert worth_encoding(size, link) is worth


def test_the_smallest_that_pays_comes_first() -> None:
    """Decoding costs time: what spares less than that is left out; the rest is in the order of its bytes."""
    difference, packed, hardly = form(40_000, base=True), form(770_000), form(990_000)
    slow, fast = Link(bytes_per_s=10e3), Link(bytes_per_s=1e6)
    assert preferred(MB, [packed, difference, hardly], slow) == (difference, packed, hardly)
    assert preferred(MB, [packed, difference, hardly], fast) == (difference,)
    assert preferred(MB, [], slow) == ()
