"""What happened before, for people: runs, selections and rollouts; it fits 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape

from ota.core.selection import Selection
from ota.report.tables import plain_table


def history_view(
    runs: Sequence[tuple[str, str, str, int]],
    selections: Sequence[Selection],
    rollouts: Sequence[tuple[str, str, str, str]],
) -> RenderableType:
    """Return past runs (started, command, summary, exit code), selections, and rollouts (started, kind, play, ends)."""
    commands = plain_table("Runs", "started", "command", "result", "exit")
    for started, command, summary, code in runs:
        commands.add_row(escape(started), escape(command), escape(summary), str(code))
    choices = plain_table("Selections", "id", "play", "winner", "L")
    for selection in selections:
        for verdict in selection.verdicts:
            best = next((row.total for row in verdict.rows if row.candidate == verdict.winner), None)
            choices.add_row(
                escape(selection.id),
                escape(selection.play if verdict.scope == "all" else f"{selection.play}, {verdict.scope}"),
                escape(verdict.winner.scheme if verdict.winner else verdict.answer.value),
                "" if best is None or verdict.winner is None else f"{best.value:+.2f}",
            )
    ends = plain_table("Rollouts", "started", "kind", "play", "hosts")
    for row in rollouts:
        ends.add_row(*(escape(cell) for cell in row))
    return Group(commands, choices, ends)
