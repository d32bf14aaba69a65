"""The figures of a verdict: L by term, size against latency, and which classes are mistaken; drawn from a selection's own values alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from ota.core.selection import Confusion
from ota.core.verdict import Row
from ota.report import figure as style
from ota.report.figure import drawing, one_line, plain_ticks
from ota.report.label_places import Box, places

MOST_LABELS = 30
"""A confusion matrix draws no more classes than these."""
_MOST_NAMES = 5
_LONGEST_CLASS = 20
_COLOURS = {"size": style.BLUE, "latency": style.ORANGE, "accuracy": style.GREEN, "transfer": style.PINK}
_TERM_LABELS = {
    "size": "dS size",
    "latency": "dT latency",
    "accuracy": "dA accuracy",
    "transfer": "dX transfer",
}
_SHADES = "cividis_r"
_PLATE: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
_FAR = 1.5


def terms_plot(name: str, rows: Sequence[tuple[Row, dict[str, float]]]) -> Markup:
    """Return L of each scheme as stacked bars, one piece per weighted term, and a dot with its interval; `rows` pair a row with term name -> weight times change."""
    with drawing(name, 0.27 * len(rows) + 1.2) as (figure, out):
        axes = figure.subplots()
        levels = list(range(len(rows)))[::-1]
        for term, colour in _COLOURS.items():
            values = [terms.get(term, 0.0) for _, terms in rows]
            lefts = [_before(terms, term) for _, terms in rows]
            axes.barh(levels, values, left=lefts, height=0.62, color=colour, label=_TERM_LABELS[term])
        for place, (row, _) in zip(levels, rows, strict=True):
            if row.total is not None:
                # A bootstrap interval need not hold the estimate itself.
                middle, half = (row.total.low + row.total.high) / 2, abs(row.total.high - row.total.low) / 2
                axes.errorbar([middle], [place], xerr=[half], fmt="none", ecolor=style.INK, capsize=3)
                axes.plot([row.total.value], [place], "o", color=style.INK, markersize=4)
        axes.axvline(0.0, color=style.INK, linewidth=0.8)
        axes.set_yticks(levels, [one_line(row.scheme) for row, _ in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        _end_early(axes, rows)
        axes.set_xlabel("L: sum of the pieces, against float32 (lower is better)")
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside upper right", ncols=4)
    return out[0]


def _end_early(axes: Axes, rows: Sequence[tuple[Row, dict[str, float]]]) -> None:
    """Let bars that are far longer than all gains end at the edge with their L: else nobody could tell the good ones apart."""
    gains = [sum(value for value in terms.values() if value < 0) for _, terms in rows]
    losses = [sum(value for value in terms.values() if value > 0) for _, terms in rows]
    edge = max(2 * -min(gains, default=0.0), 1.0)
    if max(losses, default=0.0) <= _FAR * edge:
        return
    axes.set_xlim(min(gains) * 1.08, edge)
    for place, (loss, (row, _)) in enumerate(zip(losses[::-1], rows[::-1], strict=True)):
        if loss > edge and row.total is not None:
            text = f"L {row.total.value:+.3g} →"
            axes.text(edge * 0.985, place, text, ha="right", va="center", bbox=_PLATE, fontsize=8)


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
    with drawing(name, 5.0) as (figure, out):
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
                edgecolors=style.INK,
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
        axes.margins(x=0.16, y=0.14)
        axes.set_xlabel("size in kB (log)")
        axes.set_ylabel("latency in ms, mean of the classes (log)")
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain_ticks(axes)
        figure.legend(loc="outside upper right", ncols=3)
        _write_labels(figure, axes, _labels(points))
    return out[0]


def _write_labels(figure: Figure, axes: Axes, labels: Sequence[tuple[list[str], float, float]]) -> None:
    """Write the points' names where there is room, with a line to the point where that is not beside it."""
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    at = [axes.transData.transform((x, y)) * scale for _, x, y in labels]
    area = axes.get_window_extent()
    frame = Box(left=area.x0 * scale, bottom=area.y0 * scale, right=area.x1 * scale, top=area.y1 * scale)
    sizes = [(max(map(_width, names)), 1.25 * style.FONT_SIZE * len(names)) for names, _, _ in labels]
    found = places([(float(x), float(y)) for x, y in at], sizes, frame)
    for (names, x, y), place in zip(labels, found, strict=True):
        across, up = place.side
        axes.annotate(
            "\n".join(names),
            (x, y),
            xytext=place.offset,
            textcoords="offset points",
            ha=("right", "center", "left")[across + 1],
            va=("top", "center", "bottom")[up + 1],
            arrowprops=None
            if place.near
            else {"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4},
            in_layout=False,
        )


def _width(text: str) -> float:
    return float(TextPath((0, 0), text, size=style.FONT_SIZE).get_extents().width)


def _labels(points: Sequence[tuple[Row, float, float, float]]) -> list[tuple[list[str], float, float]]:
    """Return (names, size, ms): points that lie on one another (within 3 %) share a label, of which the first few are named."""
    found: list[tuple[list[str], float, float]] = []
    for row, size, ms, _ in points:
        for names, x, y in found:
            if max(size / x, x / size, ms / y, y / ms) < 1.03:
                names.append(one_line(row.scheme))
                break
        else:
            found.append(([one_line(row.scheme)], size, ms))
    return [
        (
            names
            if len(names) <= _MOST_NAMES
            else [*names[:_MOST_NAMES], f"and {len(names) - _MOST_NAMES} more"],
            x,
            y,
        )
        for names, x, y in found
    ]


def _steps(scale: Normalize) -> list[float]:
    """Return 32 values from the least to the most, which the colour bar draws as so many boxes: a finer one would be a bitmap."""
    low, high = float(scale.vmin or 0.0), float(scale.vmax or 0.0)
    return [low + (high - low) * at / 31 for at in range(32)]


def _shape(row: Row) -> str:
    if row.status.value != "feasible":
        return "X"
    return "s" if row.dominated_by else "o"


def confusion_plot(name: str, confusion: Confusion) -> Markup:
    """Return how often each class was taken for each; of more than 30 classes those with the most wrong answers."""
    wrong = [
        sum(row) - row[at] + sum(other[at] for other in confusion.counts) - row[at]
        for at, row in enumerate(confusion.counts)
    ]
    kept = sorted(sorted(range(len(wrong)), key=lambda at: -wrong[at])[:MOST_LABELS])
    counts = [[confusion.counts[true][taken] for taken in kept] for true in kept]
    names = [
        one_line(confusion.labels[at], _LONGEST_CLASS) if at < len(confusion.labels) else str(at)
        for at in kept
    ]
    side = max(2.6, min(6.5, 0.34 * len(kept) + 1.4))
    with drawing(name, side, width=side + 1.2) as (figure, out):
        axes = figure.subplots()
        most = max((max(row) for row in counts), default=0) or 1
        axes.pcolormesh(counts, cmap="Blues", vmin=0, vmax=most, edgecolors="white", linewidth=0.6)
        for true, row in enumerate(counts):
            for taken, count in enumerate(row if len(kept) <= 20 else ()):
                ink = "white" if count > 0.6 * most else style.INK
                axes.text(taken + 0.5, true + 0.5, str(count), ha="center", va="center", color=ink)
        middles = [at + 0.5 for at in range(len(kept))]
        axes.set_xticks(middles, names, rotation=90 if len(kept) > 6 or max(map(len, names)) > 6 else 0)
        axes.set_yticks(middles, names)
        axes.set_ylim(len(kept), 0)
        axes.set_xlabel("answered")
        axes.set_ylabel("true")
        axes.grid(visible=False)
        axes.set_aspect("equal")
    return out[0]
