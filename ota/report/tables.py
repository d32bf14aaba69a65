"""Tables for people, as rich renderables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from ota.core.measurement import Measurement
from ota.core.objective import Row, Status, Verdict
from ota.core.selection import Selection

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
        parts += [verdict_table(verdict, selection.inputs.metric), device_table(verdict), *_reasons(verdict)]
    return Group(*parts)


def verdict_table(verdict: Verdict, metric: str) -> Table:
    """Return schemes by L, best first, with each term (mean over the measured hosts) and the measured figures."""
    title = "Candidates by L" + ("" if verdict.scope == "all" else f" for {verdict.scope}")
    table = Table(title=escape(title), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for name, justify in (("scheme", "left"), ("size", "right"), ("ms", "right"), (metric, "right")):
        table.add_column(name, justify=justify, no_wrap=name != "scheme")  # type: ignore[arg-type]
    for name in ("dS", "dT", "dA", "dX"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("L", justify="right", no_wrap=True, style="bold")
    table.add_column("", no_wrap=True)
    for row in verdict.rows:
        table.add_row(*_cells(row, verdict, metric), style=_STATUS_STYLE[row.status])
    return table


def _cells(row: Row, verdict: Verdict, metric: str) -> list[str]:
    won = verdict.winner is not None and row.candidate == verdict.winner
    size = human_bytes(row.candidate.size_bytes) if row.candidate else ""
    latency = _mean([m.latency_ms for m in row.measurements], "{:.3g}")
    quality = _mean([m.metric(metric) for m in row.measurements], "{:.4g}")
    deltas = [
        _mean([t.delta for s in row.scores for t in s.terms if t.name == name], "{:+.2f}")
        for name in ("size", "latency", "accuracy", "transfer")
    ]
    total = "" if row.total is None else f"{row.total:+.2f}"
    word = "[green]winner[/green]" if won else "" if row.status is Status.FEASIBLE else row.status.value
    return [escape(row.scheme), size, latency, quality, *deltas, total, word]


def _mean(values: Sequence[float], form: str) -> str:
    return form.format(sum(values) / len(values)) if values else ""


def device_table(verdict: Verdict) -> Table:
    """Return per device what would have been best there alone: where devices disagree, a person should see it."""
    table = Table(title="On each device", box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for name in ("device", "runtime", "best there"):
        table.add_column(name, overflow="fold")
    for name in ("ms", "L", "winner's ms", "winner's L"):
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


def _reasons(verdict: Verdict) -> list[str]:
    return [f"  {escape(row.scheme)}: {escape(row.reason)}" for row in verdict.rows if row.reason]
