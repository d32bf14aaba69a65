"""What the comparison says: a Markdown table and a drawing of it, everything as a ratio to `ota` in the same round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import FuncFormatter

from benchmarks.rivals.measured import Run
from benchmarks.rivals.tools import OTA
from ota.report import figure as style
from ota.report.figure import drawing

Rounds = Mapping[str, Sequence[Run]]
"""The runs of each tool, one a round, in the order of the rounds."""
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median with the least and the greatest of its values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of some values."""
        return cls(median=statistics.median(values), low=min(values), high=max(values))

    def text(self, digits: int = 2) -> str:
        """Return it as a cell."""
        if f"{self.low:.{digits}f}" == f"{self.high:.{digits}f}":
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def ratio(runs: Rounds, tool: str, value: Callable[[Run], float], base: str = OTA) -> Spread:
    """Return a tool's value over that of `base`, round by round."""
    pairs = zip(runs[tool], runs[base], strict=True)
    return Spread.of([value(one) / value(other) for one, other in pairs])


def table(runs: Rounds, how: Mapping[str, str], peaks: Mapping[str, int]) -> str:
    """Return the rows of one profile, the fastest tool first."""
    lines = [
        "| tool | how | wall s | wall | controller CPU | peak memory | bytes on the wire |",
        "|---|---|---|---|---|---|---|",
    ]
    for tool in sorted(runs, key=lambda name: statistics.median(run.wall_s for run in runs[name])):
        wall = Spread.of([run.wall_s for run in runs[tool]]).text()
        cells = [
            tool,
            how[tool],
            wall,
            ratio(runs, tool, lambda run: run.wall_s).text(),
            ratio(runs, tool, lambda run: run.cpu_s).text(),
            f"{peaks[tool] / peaks[OTA]:.2f}",
            ratio(runs, tool, lambda run: run.wire_bytes or 0).text(3) if _counted(runs) else "not counted",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    first = runs[OTA]
    absolute = f"`ota` itself: {statistics.median(run.cpu_s for run in first):.2f} s of controller CPU, {peaks[OTA] / 1e6:.0f} MB at most"
    if _counted(runs):
        absolute += f", {statistics.median(run.wire_bytes or 0 for run in first) / 1e6:.1f} MB on the wire"
    return "\n".join([*lines, "", absolute + "."])


def plot(profiles: Mapping[str, Rounds]) -> str:
    """Return an SVG document: the wall time of each tool over that of `ota`, a bar a profile, with the range of the rounds."""
    tools = [name for name in next(iter(profiles.values())) if name != OTA]
    height = 0.8 / len(profiles)
    with drawing("fleet-speed", 0.5 * len(tools) + 1.2) as (figure, out):
        axes = figure.subplots()
        for number, (title, runs) in enumerate(profiles.items()):
            there = [tool for tool in tools if tool in runs]
            spreads = [ratio(runs, tool, lambda run: run.wall_s) for tool in there]
            levels = [-tools.index(tool) - (number - (len(profiles) - 1) / 2) * height for tool in there]
            medians = [one.median for one in spreads]
            ends = [[one.median - one.low for one in spreads], [one.high - one.median for one in spreads]]
            axes.barh(levels, medians, height=height, color=_COLOURS[number % len(_COLOURS)], label=title)
            axes.errorbar(medians, levels, xerr=ends, fmt="none", ecolor=style.INK, capsize=2)
        axes.axvline(1.0, color=style.INK, linewidth=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_yticks([-n for n in range(len(tools))], tools)
        axes.set_xlabel("wall time over that of ota (right of the line: slower than ota)")
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside upper right", ncols=len(profiles))
    return str(out[0]).replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)


def _counted(runs: Rounds) -> bool:
    return all(run.wire_bytes is not None for each in runs.values() for run in each)
