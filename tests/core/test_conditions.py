"""Which blocks count: every rule with a block that just keeps it and one that just breaks it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ota.core.conditions import ConditionLimits, Conditions, Watch, void_reason

CALM = Conditions(throttled=0, clock_khz=(600_000, 1_800_000), temperature_c=50.0, boot_id="a")
FINE = Watch(before=CALM, after=CALM, seconds=1.0, busy_other=0.1)
LIMITS = ConditionLimits()


def _after(**changes: object) -> Watch:
    return replace(FINE, after=replace(CALM, **changes))  # type: ignore[arg-type]


def _both(**changes: object) -> Watch:
    there = replace(CALM, **changes)  # type: ignore[arg-type]
    return replace(FINE, before=there, after=there)


CASES = {
    "a calm block": (FINE, ""),
    "a board that tells nothing": (Watch(before=Conditions(), after=Conditions(), seconds=1.0), ""),
    "under-voltage now": (_both(throttled=0x1), "under-voltage"),
    "the clock capped now": (_after(throttled=0x2), "the clock was capped"),
    "throttled now": (_both(throttled=0x4), "the board was throttled"),
    "the soft limit now": (_both(throttled=0x8), "the soft temperature limit was reached"),
    "under-voltage has occurred meanwhile": (_after(throttled=0x10000), "under-voltage"),
    "two things meanwhile": (_after(throttled=0x50000), "under-voltage; the board was throttled"),
    "all of it occurred long ago": (_both(throttled=0xF0000), ""),
    "a clock at 98 %": (_after(clock_khz=(1_764_000,)), ""),
    "a clock below": (_after(clock_khz=(1_763_000,)), "the clock fell from 1800 to 1763 MHz"),
    "a clock that was low at first": (
        replace(FINE, before=replace(CALM, clock_khz=(1_500_000,))),
        "the clock rose from 1500 to 1800 MHz",
    ),
    "a clock that is not told afterwards": (_after(clock_khz=()), ""),
    "a word that is not told before": (replace(FINE, before=replace(CALM, throttled=None)), ""),
    "8 degrees warmer": (_after(temperature_c=58.0), ""),
    "more than 8 degrees warmer": (
        _after(temperature_c=58.5),
        "the temperature went from 50 to 58 degrees Celsius",
    ),
    "half the processors for others": (replace(FINE, busy_other=0.5), ""),
    "more": (replace(FINE, busy_other=0.63), "other programs took 63% of the processors"),
    "a restart": (_after(boot_id="b"), "the device restarted"),
}


@pytest.mark.parametrize(("watch", "reason"), CASES.values(), ids=CASES.keys())
def test_a_block_counts_or_says_why_not(watch: Watch, reason: str) -> None:
    """A block within every limit counts; one beyond is void for exactly that reason."""
    assert void_reason(watch, FINE, LIMITS) == reason


def test_a_board_that_stays_slow_is_compared_with_the_session() -> None:
    """A clock that fell between two blocks makes the second void, though it is steady within."""
    slow = _both(clock_khz=(1_200_000,))
    assert void_reason(slow, None, LIMITS) == ""
    assert void_reason(slow, FINE, LIMITS) == "the clock fell from 1800 to 1200 MHz"


def test_a_session_that_began_slowly_does_not_excuse_a_slow_block() -> None:
    """The highest clock of the first block counts, before it or after: a low reading at its start lowers no bar."""
    first = replace(FINE, before=replace(CALM, clock_khz=(1_500_000,)))
    assert void_reason(_both(clock_khz=(1_500_000,)), first, LIMITS) == "the clock fell from 1800 to 1500 MHz"
