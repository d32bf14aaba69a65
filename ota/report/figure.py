"""What all figures of the selection report share: size, colours, and how a drawing becomes an SVG element of the page.

Nothing in a figure refers to anything outside of it; every identifier begins with the figure's name, so that many can share a page; the same drawing
gives the same bytes. Colours are those of Okabe & Ito (2008), which people with any common colour blindness tell apart; no figure tells anything by
colour alone.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, RED, GREY, INK = "#56B4E9", "#D55E00", "#999999", "#222222"
FONT_SIZE = 9.0
"""In points, of all that is written in a figure but titles."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ota",
    "text.parse_math": False,
    "font.size": FONT_SIZE,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "figure.facecolor": "white",
}
_SHORT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure for the page: what it shows in a sentence, and its SVG element."""

    caption: str
    svg: Markup


@contextmanager
def drawing(name: str, height: float, *, width: float = 7.4) -> Iterator[tuple[Figure, list[Markup]]]:
    """Yield a figure of that size in inches and a list that holds its SVG element afterwards; `name` is unique on the page."""
    out: list[Markup] = []
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The browser writes the text, in a font that has the letter.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
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


def plain_ticks(axes: Axes) -> None:
    """Write the ticks of logarithmic axes as plain numbers: evenly spaced where the axis is short, else in between the decades too."""
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if axis.get_scale() == "log":
            axis.set_major_formatter("{x:g}")
            if high < _SHORT * low:
                axis.set_major_locator(MaxNLocator(5))
                axis.set_minor_locator(NullLocator())
            else:
                axis.set_minor_locator(LogLocator(subs=(2, 5)))
                axis.set_minor_formatter("{x:g}")


def one_line(text: str, longest: int = 56) -> str:
    """Return a text from outside as one line of at most `longest` letters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "-"
    return line if len(line) <= longest else line[: longest - 1] + "…"
