"""Which form of a file crosses: by its sizes, by what is known of the link, and by what the making of a form costs the hosts that wait."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from ota.core.release import Digest
from ota.core.wire import Crossing, Encoding, Foretold, Link, Timed

MB = 1_000_000


def form(size: int, *, base: bool = False) -> Encoding:
    """Return an encoding of that size."""
    digest = Digest.of(str(size).encode())
    return Encoding(path=PurePath("x"), digest=digest, size_bytes=size, base=digest if base else None)


def crossing(speed: float, size: int = MB, turns: int = 1) -> Crossing:
    """Return a file's way over a link of so many bytes a second."""
    return Crossing(size_bytes=size, link=Link(bytes_per_s=speed), turns=turns)


@pytest.mark.parametrize(
    ("size", "link", "worth"),
    [
        (MB, Link(), True),
        (MB, Link(round_trip_s=0.3), True),
        (MB, Link(round_trip_s=0.02), False),
        (10 * MB, Link(round_trip_s=0.02), True),
        (4 * MB, Link(round_trip_s=0.0), False),
        (MB, Link(round_trip_s=0.3, bytes_per_s=50e6), False),
        (MB, Link(round_trip_s=0.001, bytes_per_s=125e3), True),
        (1000, Link(), False),
    ],
)
def test_a_short_transfer_is_left_as_it_is(size: int, link: Link, worth: bool) -> None:
    """A file that crosses within half a second needs no thought; what was measured counts for more than the round trip."""
    assert Crossing(size_bytes=size, link=link).worth_a_thought() is worth


def test_the_smallest_that_pays_comes_first() -> None:
    """Decoding costs time: what spares less than that is left out; the rest is in the order of its bytes."""
    difference, packed, hardly = form(40_000, base=True), form(770_000), form(990_000)
    assert crossing(10e3).preferred([packed, difference, hardly]) == (difference, packed, hardly)
    assert crossing(1e6).preferred([packed, difference, hardly]) == (difference,)
    assert crossing(10e3).preferred([]) == ()


@pytest.mark.parametrize(
    ("made", "there", "speed", "turns", "worth"),
    [
        pytest.param(50_000, MB, 125e3, 1, True, id="a difference over a slow link"),
        pytest.param(900_000, MB, 125e3, 1, False, id="a tenth less costs more than it spares one host"),
        pytest.param(900_000, MB, 125e3, 2, True, id="and not what it spares two, one after the other"),
        pytest.param(990_000, MB, 125e3, 1000, False, id="what decoding takes longer than it spares, for no fleet"),
        pytest.param(50_000, MB, 5e6, 1, False, id="a fast link"),
        pytest.param(50_000, MB, 2e6, 20, True, id="a fast link of many that wait in turn"),
        pytest.param(720_000, 770_000, 125e3, 1, False, id="another form is there already"),
        pytest.param(50_000, 770_000, 125e3, 1, True, id="another is there, and this far shorter"),
    ],
)  # fmt: skip
def test_making_a_form_must_pay_for_itself(
    made: int, there: int, speed: float, turns: int, worth: bool
) -> None:
    """All hosts wait once for a form that is made; what each turn of them is spared must be more."""
    foretold = Foretold(size_bytes=made, work_bytes=2 * MB)
    assert crossing(speed, turns=turns).worth_making(foretold, there) is worth


def test_little_work_is_worth_little_gain() -> None:
    """A difference in one layer takes no time to make, however long the file."""
    short, long = (Foretold(size_bytes=1000, work_bytes=work) for work in (20_000, 40 * MB))
    assert crossing(1.5e6, size=20 * MB).worth_making(short, 20 * MB)
    assert not crossing(1.5e6, size=20 * MB).worth_making(long, 20 * MB)


@pytest.mark.parametrize(
    ("then", "now", "speed"),
    [
        pytest.param(1.0, 1, 100e3, id="alone, and alone again"),
        pytest.param(20.0, 20, 100e3, id="as many as then"),
        pytest.param(20.0, 1, 2e6, id="the way out was shared and is not any more"),
        pytest.param(20.0, 5, 400e3, id="fewer share it"),
        pytest.param(1.0, 20, 100e3, id="more share it: the link was not faster alone"),
    ],
)
def test_a_shared_transfer_says_little_of_the_link(then: float, now: int, speed: float) -> None:
    """What many transfers at once took is no host's slow link: where fewer share the way out, each may have more of it."""
    timed = Timed(size_bytes=MB, seconds=10.0, sharers=then)
    assert timed.bytes_per_s(now) == pytest.approx(speed)
