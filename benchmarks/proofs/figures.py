"""The last lines of every proof: each figure with its goal and whether it was met, and the exit code that follows."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

_TESTS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge, "=": operator.eq}


@dataclass
class Figures:
    """Collects figures; `finish` prints one line each and ends the process with 0 where all goals were met, else 1."""

    lines: list[tuple[str, bool]] = field(default_factory=list)

    def add(self, name: str, figure: float, relation: str, goal: float, *, unit: str = "") -> None:
        """Note a figure whose goal is one bound, such as `("inferences per candidate", 180, "<=", 204)`."""
        met = _TESTS[relation](figure, goal)
        self.lines.append((f"{name}: {figure:.6g}{unit} ({relation} {goal:g}{unit})", met))

    def within(self, name: str, figure: float, low: float, high: float, *, unit: str = "") -> None:
        """Note a figure whose goal is a range, both ends included."""
        self.lines.append((f"{name}: {figure:.6g}{unit} ({low:g} to {high:g}{unit})", low <= figure <= high))

    def holds(self, name: str, *, met: bool, found: str, goal: str) -> None:
        """Note a goal that is no number."""
        self.lines.append((f"{name}: {found} ({goal})", met))

    def finish(self) -> None:
        """Print every figure and exit."""
        print()
        for text, met in self.lines:
            print(f"{text} {'ok' if met else 'short'}")
        sys.exit(0 if self.lines and all(met for _, met in self.lines) else 1)
