"""The figures of one device: how long inferences took, and its blocks over time with clock and temperature."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from math import ceil
from statistics import mean, quantiles
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from ota.core.conditions import Conditions
from ota.core.measurement import Contender
from ota.core.samples import Block, HostLog
from ota.report import figure as style
from ota.report.figure import drawing, one_line, plain_ticks

MOST_BOXES = 36
"""A figure of latencies draws no more contenders than these: the rest go into the next, or print would be too small to read."""
_SECONDS = 180
_NUMBER, _WORD = 0.025, 0.07
_PAUSE = 1.5
_PLATE: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}

_Quantiles = tuple[float, float, float, float, float]


def latency_plots(name: str, host: HostLog) -> tuple[Markup, ...]:
    """Return how long inferences took on a host, a box per contender over its valid blocks, fastest first; in several figures of like length where there are many, none where nothing was timed."""
    times: dict[Contender, list[float]] = {}
    for block in host.blocks:
        for turn in block.turns if not block.void else ():
            times.setdefault(turn.contender, []).extend(ns / 1e6 for ns in turn.latencies_ns)
    boxes = sorted((_five(values), one) for one, values in times.items() if len(values) > 1)
    boxes.sort(key=lambda box: box[0][2])
    runtimes = sorted({one.setting.runtime for _, one in boxes})
    palette = (style.BLUE, style.ORANGE, style.GREEN, style.PINK, *[style.GREY] * len(runtimes))
    colours = dict(zip(runtimes, palette, strict=False))
    share = ceil(len(boxes) / max(ceil(len(boxes) / MOST_BOXES), 1)) or 1
    return tuple(
        _latencies(f"{name}{at}", boxes[at : at + share], colours) for at in range(0, len(boxes), share)
    )


def _latencies(name: str, boxes: Sequence[tuple[_Quantiles, Contender]], colours: dict[str, str]) -> Markup:
    with drawing(name, 0.2 * len(boxes) + 1.0) as (figure, out):
        axes = figure.subplots()
        for place, ((least, low, middle, high, most), one) in enumerate(boxes):
            axes.plot([least, most], [place, place], color=style.INK, linewidth=0.8)
            axes.barh([place], [high - low], left=[low], height=0.6, color=colours[one.setting.runtime])
            axes.plot([middle, middle], [place - 0.36, place + 0.36], color=style.INK, linewidth=1.0)
        axes.set_yticks(list(range(len(boxes))), [_named(one) for _, one in boxes])
        axes.set_ylim(len(boxes) - 0.4, -0.6)
        axes.set_xscale("log")
        plain_ticks(axes)
        axes.set_xlabel("ms per inference (log): median, quartiles, 5th to 95th percentile")
        axes.grid(visible=False, axis="y")
    return out[0]


def _named(one: Contender) -> str:
    return one_line(f"{one.scheme} · {one.setting.threads}t · {one.setting.runtime}")


def _five(values: Sequence[float]) -> _Quantiles:
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[0], cuts[4], cuts[9], cuts[14], cuts[18]


def timeline_plot(name: str, host: HostLog) -> Markup | None:
    """Return a host's blocks over time, void ones hatched, with its clock and temperature before and after each; None where there is no block."""
    if not host.blocks:
        return None
    starts, label = _starts(host.blocks)
    ends = [start + block.watch.seconds for start, block in zip(starts, host.blocks, strict=True)]
    unit = "seconds"
    if ends[-1] > _SECONDS:
        starts, ends, unit = [at / 60 for at in starts], [at / 60 for at in ends], "minutes"
    with drawing(name, 3.4) as (figure, out):
        top, clock, heat = figure.subplots(3, sharex=True, height_ratios=(1, 1.3, 1.3))
        for start, end, block in zip(starts, ends, host.blocks, strict=True):
            _block(top, start, end, block, share=(end - start) / (max(ends) or 1.0))
        top.set_yticks([])
        top.grid(visible=False)
        top.set_ylabel("blocks")
        _line(clock, starts, ends, [(_mhz(b.watch.before), _mhz(b.watch.after)) for b in host.blocks], "MHz")
        heats = [(b.watch.before.temperature_c, b.watch.after.temperature_c) for b in host.blocks]
        _line(heat, starts, ends, heats, "°C")
        heat.set_xlabel(f"{unit} {label}")
        figure.align_ylabels()
    return out[0]


def _block(axes: Axes, start: float, end: float, block: Block, *, share: float) -> None:
    """Draw one block that fills `share` of the axis; numbered where there is room, and always where void."""
    axes.broken_barh(
        [(start, end - start)],
        (0, 1),
        facecolor=style.RED if block.void else style.SKY,
        hatch="//" if block.void else "",
        edgecolor="white",
        linewidth=0.5,
    )
    if block.void or share > _NUMBER:
        text = f"{block.number} void" if block.void and share > _WORD else str(block.number)
        plate = _PLATE if block.void else None
        axes.text((start + end) / 2, 0.5, text, ha="center", va="center", bbox=plate, fontsize=8)


def _line(
    axes: Axes,
    starts: Sequence[float],
    ends: Sequence[float],
    values: Sequence[tuple[float | None, float | None]],
    label: str,
) -> None:
    known = [
        (at, value)
        for start, end, (before, after) in zip(starts, ends, values, strict=True)
        for at, value in ((start, before), (end, after))
        if value is not None
    ]
    axes.set_ylabel(label)
    if known:
        axes.plot([at for at, _ in known], [value for _, value in known], ".-", color=style.BLUE)
        axes.margins(y=0.25)
        axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    else:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "the device does not tell", ha="center", va="center", transform=axes.transAxes)


def _mhz(conditions: Conditions) -> float | None:
    return mean(conditions.clock_khz) / 1000 if conditions.clock_khz else None


def _starts(blocks: Sequence[Block]) -> tuple[list[float], str]:
    """Return when each block began, in seconds since the first, and since what; one after the other where there were long pauses or a time cannot be read."""
    lengths = [block.watch.seconds for block in blocks]
    joined = [0.0, *accumulate(lengths)][:-1]
    try:
        times = [datetime.fromisoformat(block.at) for block in blocks]
        since = [(time - times[0]).total_seconds() for time in times]
    except (ValueError, TypeError):
        return joined, "of measurement"
    if since != sorted(since) or since[-1] + lengths[-1] > _PAUSE * sum(lengths):
        return joined, "of measurement, pauses left out"
    return since, "since the first block"
