"""The figures of the selection report, as SVG to put into the page: drawn from a selection's own values, the same input giving the same bytes.

Nothing in a figure refers to anything outside of it; every identifier begins with the figure's name, so that many can share a page. Colours are those of
Okabe & Ito (2008), which people with any common colour blindness tell apart; no figure tells anything by colour alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from statistics import mean, quantiles
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from ota.core.samples import Block, Conditions, Contender, HostLog
from ota.core.selection import Confusion
from ota.core.verdict import Row

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ota",
    "text.parse_math": False,
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "figure.facecolor": "white",
}
_COLOURS = {"size": "#0072B2", "latency": "#E69F00", "accuracy": "#009E73", "transfer": "#CC79A7"}
_TERM_LABELS = {
    "size": "dS size",
    "latency": "dT latency",
    "accuracy": "dA accuracy",
    "transfer": "dX transfer",
}
_VALID, _VOID, _INK = "#56B4E9", "#D55E00", "#222222"
_PLATE: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
_SHADES = "cividis_r"
MOST_LABELS = 30
"""A confusion matrix draws no more classes than these."""
_LONGEST_LABEL = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure for the page: what it shows in a sentence, and its SVG element."""

    caption: str
    svg: Markup


def terms_plot(name: str, rows: Sequence[tuple[Row, dict[str, float]]]) -> Markup:
    """Return L of each scheme as stacked bars, one piece per weighted term, and a dot with its interval; `rows` pair a row with term name -> weight times change."""
    with _figure(name, 0.34 * len(rows) + 1.3) as (figure, out):
        axes = figure.subplots()
        places = list(range(len(rows)))[::-1]
        for term, colour in _COLOURS.items():
            values = [terms.get(term, 0.0) for _, terms in rows]
            lefts = [_before(terms, term) for _, terms in rows]
            axes.barh(places, values, left=lefts, height=0.62, color=colour, label=_TERM_LABELS[term])
        for place, (row, _) in zip(places, rows, strict=True):
            if row.total is not None:
                ends = [[row.total.value - row.total.low], [row.total.high - row.total.value]]
                axes.errorbar([row.total.value], [place], xerr=ends, fmt="o", color=_INK, ms=4, capsize=3)
        axes.axvline(0.0, color=_INK, linewidth=0.8)
        axes.set_yticks(places, [_cut(row.scheme) for row, _ in rows])
        axes.set_xlabel("L: sum of the pieces, against float32 (lower is better)")
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside upper right", ncols=4)
    return out[0]


def _before(terms: dict[str, float], term: str) -> float:
    """Return where the piece of `term` starts: gains stack to the left of zero, losses to the right."""
    own, left = terms.get(term, 0.0), 0.0
    for name in _COLOURS:
        if name == term:
            return left
        value = terms.get(name, 0.0)
        left += value if (value < 0) == (own < 0) else 0.0
    return left


def pareto_plot(name: str, points: Sequence[tuple[Row, float, float, float]]) -> Markup:
    """Return size (kB) against latency (ms), the loss of accuracy as colour; (row, size in kB, ms, loss). Circles are on the front, squares dominated, crosses cannot win."""
    with _figure(name, 4.2) as (figure, out):
        axes = figure.subplots()
        losses = [loss for *_, loss in points]
        scale = Normalize(min(losses), max(*losses, min(losses) + 1e-9))
        for shape, label in (("o", "on the front"), ("s", "dominated"), ("X", "cannot win")):
            own = [point for point in points if _shape(point[0]) == shape]
            axes.scatter(
                [size for _, size, _, _ in own],
                [ms for _, _, ms, _ in own],
                c=[loss for *_, loss in own],
                norm=scale,
                cmap=_SHADES,
                marker=shape,
                s=70,
                edgecolors=_INK,
                label=label if own else "",
            )
        bar = figure.colorbar(
            ScalarMappable(scale, _SHADES),
            ax=axes,
            label="loss of accuracy against float32",
            values=_steps(scale),
        )
        if bar.solids is not None:
            bar.solids.set_edgecolor("face")
        for names, size, ms in _labels(points):
            axes.annotate(names, (size, ms), xytext=(7, 4), textcoords="offset points")
        axes.margins(x=0.16, y=0.14)
        axes.set_xlabel("size in kB (log)")
        axes.set_ylabel("latency in ms, mean of the classes (log)")
        axes.set_xscale("log")
        axes.set_yscale("log")
        _plain_ticks(axes)
        figure.legend(loc="outside upper right", ncols=3)
    return out[0]


def _labels(points: Sequence[tuple[Row, float, float, float]]) -> list[tuple[str, float, float]]:
    """Return (names, size, ms): points that lie on one another (within 3 %) share a label."""
    found: list[tuple[list[str], float, float]] = []
    for row, size, ms, _ in points:
        for names, x, y in found:
            if max(size / x, x / size, ms / y, y / ms) < 1.03:
                names.append(row.scheme)
                break
        else:
            found.append(([row.scheme], size, ms))
    return [(_cut(", ".join(names)), x, y) for names, x, y in found]


def _steps(scale: Normalize) -> list[float]:
    """Return 32 values from the least to the most, which the colour bar draws as so many boxes: a finer one would be a bitmap."""
    low, high = float(scale.vmin or 0.0), float(scale.vmax or 0.0)
    return [low + (high - low) * at / 31 for at in range(32)]


def _shape(row: Row) -> str:
    if row.status.value != "feasible":
        return "X"
    return "s" if row.dominated_by else "o"


def latency_plot(name: str, host: HostLog) -> Markup | None:
    """Return how long inferences took on a host, a box per contender over its valid blocks, fastest on top; None where nothing was timed."""
    times: dict[Contender, list[float]] = {}
    for block in host.blocks:
        for turn in block.turns if not block.void else ():
            times.setdefault(turn.contender, []).extend(ns / 1e6 for ns in turn.latencies_ns)
    boxes = sorted((_five(values), one) for one, values in times.items() if len(values) > 1)
    boxes.sort(key=lambda box: box[0][2])
    if not boxes:
        return None
    with _figure(name, 0.22 * len(boxes) + 1.0) as (figure, out):
        axes = figure.subplots()
        runtimes = sorted({one.setting.runtime for _, one in boxes})
        colours = dict(zip(runtimes, (*_COLOURS.values(), *["#999999"] * len(runtimes)), strict=False))
        for place, ((least, low, middle, high, most), one) in enumerate(boxes):
            axes.plot([least, most], [place, place], color=_INK, linewidth=0.8)
            axes.barh([place], [high - low], left=[low], height=0.6, color=colours[one.setting.runtime])
            axes.plot([middle, middle], [place - 0.36, place + 0.36], color=_INK, linewidth=1.4)
        axes.set_yticks(list(range(len(boxes))), [_named(one) for _, one in boxes])
        axes.set_ylim(len(boxes) - 0.4, -0.6)
        axes.set_xscale("log")
        _plain_ticks(axes)
        axes.set_xlabel("ms per inference (log): median, quartiles, 5th to 95th percentile")
        axes.grid(visible=False, axis="y")
    return out[0]


def _five(values: Sequence[float]) -> tuple[float, float, float, float, float]:
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[0], cuts[4], cuts[9], cuts[14], cuts[18]


def confusion_plot(name: str, confusion: Confusion) -> Markup:
    """Return how often each class was taken for each; of more than 30 classes those with the most wrong answers."""
    wrong = [
        sum(row) - row[at] + sum(other[at] for other in confusion.counts) - row[at]
        for at, row in enumerate(confusion.counts)
    ]
    kept = sorted(sorted(range(len(wrong)), key=lambda at: -wrong[at])[:MOST_LABELS])
    counts = [[confusion.counts[true][taken] for taken in kept] for true in kept]
    names = [_cut(confusion.labels[at]) if at < len(confusion.labels) else str(at) for at in kept]
    side = max(2.6, min(6.5, 0.34 * len(kept) + 1.4))
    with _figure(name, side, width=side + 1.2) as (figure, out):
        axes = figure.subplots()
        most = max((max(row) for row in counts), default=0) or 1
        axes.pcolormesh(counts, cmap="Blues", vmin=0, vmax=most, edgecolors="white", linewidth=0.6)
        for true, row in enumerate(counts):
            for taken, count in enumerate(row if len(kept) <= 20 else ()):
                ink = "white" if count > 0.6 * most else _INK
                axes.text(taken + 0.5, true + 0.5, str(count), ha="center", va="center", color=ink)
        middles = [at + 0.5 for at in range(len(kept))]
        axes.set_xticks(middles, names, rotation=90 if len(kept) > 6 else 0)
        axes.set_yticks(middles, names)
        axes.set_ylim(len(kept), 0)
        axes.set_xlabel("answered")
        axes.set_ylabel("true")
        axes.grid(visible=False)
        axes.set_aspect("equal")
    return out[0]


def timeline_plot(name: str, host: HostLog) -> Markup | None:
    """Return a host's blocks over time, void ones hatched, with its clock and temperature before and after each; None where there is no block."""
    if not host.blocks:
        return None
    starts = _starts(host.blocks)
    ends = [start + block.watch.seconds / 60 for start, block in zip(starts, host.blocks, strict=True)]
    with _figure(name, 3.4) as (figure, out):
        top, clock, heat = figure.subplots(3, sharex=True, height_ratios=(1, 1.3, 1.3))
        for start, end, block in zip(starts, ends, host.blocks, strict=True):
            top.broken_barh(
                [(start, end - start)],
                (0, 1),
                facecolor=_VOID if block.void else _VALID,
                hatch="//" if block.void else "",
                edgecolor="white",
            )
            top.text(
                (start + end) / 2,
                0.5,
                f"{block.number}{' void' if block.void else ''}",
                ha="center",
                va="center",
                bbox=_PLATE if block.void else None,
            )
        top.set_yticks([])
        top.grid(visible=False)
        top.set_ylabel("blocks")
        _line(clock, starts, ends, [(_mhz(b.watch.before), _mhz(b.watch.after)) for b in host.blocks], "MHz")
        heats = [(b.watch.before.temperature_c, b.watch.after.temperature_c) for b in host.blocks]
        _line(heat, starts, ends, heats, "°C")
        heat.set_xlabel("minutes since the first block")
        figure.align_ylabels()
    return out[0]


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
        axes.plot([at for at, _ in known], [value for _, value in known], ".-", color=_COLOURS["size"])
        axes.margins(y=0.25)
        axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    else:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "the device does not tell", ha="center", va="center", transform=axes.transAxes)


def _mhz(conditions: Conditions) -> float | None:
    return mean(conditions.clock_khz) / 1000 if conditions.clock_khz else None


def _starts(blocks: Sequence[Block]) -> list[float]:
    """Return when each block began, in minutes since the first; one after the other where a time cannot be read."""
    try:
        times = [datetime.fromisoformat(block.at) for block in blocks]
        return [(time - times[0]).total_seconds() / 60 for time in times]
    except (ValueError, TypeError):
        return [sum(block.watch.seconds for block in blocks[:at]) / 60 for at in range(len(blocks))]


def _plain_ticks(axes: Axes) -> None:
    """Write the ticks of logarithmic axes as plain numbers, in between the decades too where there are few."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(LogLocator(subs=(2, 5)))
            axis.set_minor_formatter("{x:g}")


def _named(one: Contender) -> str:
    return _cut(f"{one.scheme} · {one.setting.runtime} · {one.setting.threads}t")


def _cut(text: str) -> str:
    """Return a text from outside as one short line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "-"
    return line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"


@contextmanager
def _figure(name: str, height: float, *, width: float = 8.2) -> Iterator[tuple[Figure, list[Markup]]]:
    """Yield a figure of that size in inches and a list that holds its SVG element afterwards."""
    out: list[Markup] = []
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, out
        held = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(held, format="svg", metadata=nothing)
    out.append(_inline(name, held.getvalue()))


def _inline(name: str, document: str) -> Markup:
    """Return the svg element of a document with its identifiers made the figure's own and without what only a file of its own needs."""
    element = document[document.index("<svg") :]
    element = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", element, flags=re.DOTALL
    )
    element = re.sub(r' xmlns(:xlink)?="[^"]*"| version="1.1"', "", element)
    element = element.replace("xlink:href=", "href=")
    element = re.sub(r'(\sid="|\shref="#|url\(#)', rf"\g<1>{escape(name)}-", element)
    return Markup(element.strip())  # noqa: S704 - matplotlib escaped the texts in it
