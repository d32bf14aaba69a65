"""Tables for people, as rich renderables that fit 80 columns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from ota.core.decide import PUBLISHED_FAULT
from ota.core.measurement import Measurement
from ota.core.objective import Formula, Row, Status, Verdict
from ota.core.score import Scored
from ota.core.selection import Selection

_LONGEST_REASON = 240
_STATUS_STYLE = {Status.FEASIBLE: "", Status.REJECTED: "yellow", Status.FAILED: "red"}


def human_bytes(count: float) -> str:
    """Return `count` bytes in decimal units with three significant digits, such as `995 kB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000 or unit == "GB":
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
        count /= 1000
    raise AssertionError


def selection_view(selection: Selection) -> RenderableType:
    """Return the whole answer to `ota select`: per scope the table of L, the devices, and why the others lost."""
    parts: list[RenderableType] = []
    for verdict in selection.verdicts:
        parts += [
            verdict_table(verdict, selection.inputs.metric),
            device_table(verdict),
            _headline(verdict),
            *_reasons(verdict),
        ]
    if selection.objective.formula is Formula.PUBLISHED:
        parts.append(f"[yellow]{escape(PUBLISHED_FAULT)}[/yellow]")
    parts.append(f"selection {escape(selection.id)}")
    return Group(*parts)


def verdict_table(verdict: Verdict, metric: str) -> Table:
    """Return schemes by L, best first, with each term (mean over the measured hosts) and the measured figures."""
    title = "Candidates by L" + ("" if verdict.scope == "all" else f" for {verdict.scope}")
    table = plain_table(title)
    table.add_column("scheme", no_wrap=True)
    for name in ("size", "ms", metric, "dS", "dT", "dA", "dX"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("L", justify="right", no_wrap=True)
    for row in verdict.rows:
        won = verdict.winner is not None and row.candidate == verdict.winner
        table.add_row(*_cells(row, metric), style="bold green" if won else _STATUS_STYLE[row.status])
    return table


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


def _cells(row: Row, metric: str) -> list[str]:
    size = human_bytes(row.candidate.size_bytes).replace(" ", "") if row.candidate else ""
    latency = _mean([m.latency_ms for m in row.measurements], _short)
    quality = _mean([m.metric(metric) for m in row.measurements], _short)
    deltas = [
        _mean([t.delta for s in row.scores for t in s.terms if t.name == name], _signed)
        for name in ("size", "latency", "accuracy", "transfer")
    ]
    last = row.status.value if row.total is None or row.status is not Status.FEASIBLE else _signed(row.total)
    return [escape(row.scheme), size, latency, quality, *deltas, last]


def _mean(values: Sequence[float], form: Callable[[float], str]) -> str:
    return form(sum(values) / len(values)) if values else ""


def _short(value: float) -> str:
    return f"{value:.3g}"


def _signed(value: float) -> str:
    """Return a relative change with two decimals, fewer where it is large: columns stay narrow."""
    return f"{value:+.2f}" if abs(value) < 10 else f"{value:+.3g}"


def device_table(verdict: Verdict) -> Table:
    """Return per device what would have been best there alone: where devices disagree, a person should see it."""
    table = plain_table("On each device")
    for name in ("device", "runtime", "best there"):
        table.add_column(name, overflow="fold")
    for name in ("ms", "L", "winner ms", "winner L"):
        table.add_column(name, justify="right", no_wrap=True)
    for host in verdict.hosts:
        ranked = _ranked(verdict, host)
        if not ranked:
            table.add_row(escape(host), "", "none", "", "", "", "")
            continue
        best_total, best, measured = ranked[0]
        winner = next((r for r in ranked if r[1].candidate == verdict.winner), None)
        table.add_row(
            escape(host),
            escape(measured.runtime),
            escape(best.scheme),
            f"{measured.latency_ms:.3g}",
            f"{best_total:+.2f}",
            f"{winner[2].latency_ms:.3g}" if winner else "",
            f"{winner[0]:+.2f}" if winner else "",
        )
    return table


def _ranked(verdict: Verdict, host: str) -> list[tuple[float, Row, Measurement]]:
    return sorted(
        (
            (score.total, row, measurement)
            for row in verdict.rows
            for score in row.scores
            for measurement in row.measurements
            if score.host == host == measurement.host
        ),
        key=lambda entry: entry[0],
    )


def _headline(verdict: Verdict) -> str:
    scope = "" if verdict.scope == "all" else f" for {escape(verdict.scope)}"
    if verdict.winner is None:
        return f"[bold red]no feasible candidate{scope}[/bold red]: every row below says why"
    best = verdict.rows[0]
    return f"[bold green]winner{scope}: {escape(best.scheme)}[/bold green], L {best.total:+.2f} over {len(verdict.hosts)} device{'s' * (len(verdict.hosts) != 1)}"


def _reasons(verdict: Verdict) -> list[str]:
    """Return why each of the others lost, a line each, cut where a runtime is talkative; --json has them whole."""
    lines = []
    for row in verdict.rows:
        if row.reason:
            reason = (
                row.reason if len(row.reason) <= _LONGEST_REASON else row.reason[: _LONGEST_REASON - 1] + "…"
            )
            lines.append(f"[bold]{escape(row.scheme)}[/bold]: {escape(reason)}")
    return lines


def show(view: RenderableType) -> None:
    """Render a view to stdout, in colour where that is a terminal; 100 columns where it is none, so that a file has whole lines."""
    Console(highlight=False, width=None if sys.stdout.isatty() else 100).print(view)


def score_view(scored: Sequence[Scored], note: str) -> RenderableType:
    """Return L and its terms of a person's own table, and a note below it."""
    table = plain_table("L against the first row")
    table.add_column("scheme", overflow="fold")
    names = [term.name for term in scored[0].terms]
    for name in (*(f"d {name}" for name in names), "L"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in scored:
        table.add_row(escape(one.scheme), *(_signed(term.delta) for term in one.terms), f"{one.total:+.2f}")
    return Group(table, f"[yellow]{escape(note)}[/yellow]") if note else table
