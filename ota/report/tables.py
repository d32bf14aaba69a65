"""What all tables share: rich renderables that fit 80 columns, numbers as people read them, and how they reach stdout."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table


def human_bytes(count: float) -> str:
    """Return `count` bytes in decimal units with three significant digits, such as `995 kB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000 or unit == "GB":
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
        count /= 1000
    raise AssertionError


def plain_table(title: str, *columns: str) -> Table:
    """Return an empty table whose named columns fold rather than vanish."""
    table = Table(
        title=escape(title),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def signed(value: float) -> str:
    """Return a relative change with two decimals, fewer where it is large: columns stay narrow."""
    return f"{value:+.2f}" if abs(value) < 10 else f"{value:+.3g}"


def show(view: RenderableType) -> None:
    """Render a view to stdout, in colour where that is a terminal; 100 columns where it is none, so that a file has whole lines."""
    Console(highlight=False, width=None if sys.stdout.isatty() else 100).print(view)
