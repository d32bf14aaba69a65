"""L of a person's own table, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape

from ota.core.score import Scored
from ota.report.tables import plain_table, signed


def score_view(scored: Sequence[Scored], note: str) -> RenderableType:
    """Return L and its terms of a person's own table, and a note below it."""
    table = plain_table("L against the first row")
    table.add_column("scheme", overflow="fold")
    names = [term.name for term in scored[0].terms]
    for name in (*(f"d {name}" for name in names), "L"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in scored:
        table.add_row(escape(one.scheme), *(signed(term.delta) for term in one.terms), f"{one.total:+.2f}")
    return Group(table, f"[yellow]{escape(note)}[/yellow]") if note else table
