"""How a device was while a block ran, and which blocks count: the rules by which heat, power, clock, a restart or other programs make one void.

Sources: the bits of the firmware's word are Raspberry Pi's documentation of `vcgencmd get_throttled`; a governor that follows the load makes a clock that fell
by 2 % show in the times, and so does a board that warmed by 8 degrees while a block ran.
"""

from __future__ import annotations

from dataclasses import dataclass

_NOW = (
    "under-voltage",
    "the clock was capped",
    "the board was throttled",
    "the soft temperature limit was reached",
)
_SINCE = 16
"""Bits 16 to 19 of the firmware's word say that the same has occurred since the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a device was at one moment; what a board does not tell is None or empty.

    `throttled` is the firmware's word (bits 0 to 3: under-voltage, clock capped, throttled, soft temperature limit now; 16 to 19: the same has
    occurred since boot). `clock_khz` is one number per processor. `memory_available_bytes` is what programs could still get without swapping.
    """

    throttled: int | None = None
    clock_khz: tuple[int, ...] = ()
    governor: str = ""
    temperature_c: float | None = None
    load_1m: float = 0.0
    boot_id: str = ""
    memory_available_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A block's surroundings. `busy_other` and `stolen` are shares (0 to 1) of all processors' time that other programs and other machines took."""

    before: Conditions
    after: Conditions
    seconds: float
    busy_other: float = 0.0
    stolen: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionLimits:
    """What a block may show and still count: a share (0 to 1) of the clock at least, degrees Celsius at most, a share of the processors for others at most."""

    clock: float = 0.98
    warming_c: float = 8.0
    busy_other: float = 0.5


def void_reason(watch: Watch, first: Watch | None, limits: ConditionLimits) -> str:
    """Return why a block counts for nothing, empty where it counts; `first` is the session's first block that did."""
    return "; ".join(
        reason
        for reason in (
            _restarted(watch, first),
            _throttled(watch.before, watch.after),
            _slower(watch, first, limits),
            _warmer(watch, limits),
            _crowded(watch, limits),
        )
        if reason
    )


def _restarted(watch: Watch, first: Watch | None) -> str:
    del first  # a session may go on after a restart; a block may not
    return "the device restarted" if watch.before.boot_id != watch.after.boot_id else ""


def _throttled(before: Conditions, after: Conditions) -> str:
    """Name what the firmware reports now, before or after, and what it says has occurred in between."""
    words = [word for word in (before.throttled, after.throttled) if word is not None]
    found = []
    for bit, name in enumerate(_NOW):
        now = any(word >> bit & 1 for word in words)
        occurred = len(words) == 2 and not words[0] >> (bit + _SINCE) & 1 and words[1] >> (bit + _SINCE) & 1
        if now or occurred:
            found.append(name)
    return "; ".join(found)


def _slower(watch: Watch, first: Watch | None, limits: ConditionLimits) -> str:
    """Compare the fastest processor's clock before and after with the highest that it and the session's first block have shown."""
    readings = [max(one.clock_khz, default=0) for one in (watch.before, watch.after)]
    known = [max(one.clock_khz, default=0) for one in (first.before, first.after)] if first else []
    seen = [reading for reading in readings if reading]
    if not seen or min(seen) >= limits.clock * max(*known, *seen, 0):
        return ""
    if seen == readings and readings[0] < limits.clock * readings[1]:
        return f"the clock rose from {readings[0] / 1000:.0f} to {readings[1] / 1000:.0f} MHz"
    return f"the clock fell from {max(*known, *seen) / 1000:.0f} to {min(seen) / 1000:.0f} MHz"


def _warmer(watch: Watch, limits: ConditionLimits) -> str:
    before, after = watch.before.temperature_c, watch.after.temperature_c
    if before is not None and after is not None and abs(after - before) > limits.warming_c:
        return f"the temperature went from {before:.0f} to {after:.0f} degrees Celsius"
    return ""


def _crowded(watch: Watch, limits: ConditionLimits) -> str:
    if watch.busy_other > limits.busy_other:
        return f"other programs took {watch.busy_other:.0%} of the processors"
    return ""
