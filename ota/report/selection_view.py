"""The answer to `ota select` on a terminal: candidates by L with intervals, the best of each runtime, and the verdict in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from ota.core.objective import PUBLISHED_FAULT, Formula
from ota.core.selection import Selection
from ota.core.verdict import Answer, ContenderEstimate, Estimate, Row, Status, Verdict
from ota.report.tables import human_bytes, plain_table, signed

_LONGEST_REASON = 240
_MOST_SENTENCES = 6
_STATUS_STYLE = {
    Status.FEASIBLE: "",
    Status.UNDECIDED: "cyan",
    Status.REJECTED: "yellow",
    Status.FAILED: "red",
}
_HEADLINE_STYLE = {
    Answer.WINNER: "bold green",
    Answer.TIE: "bold cyan",
    Answer.UNRELIABLE: "bold red",
    Answer.NONE: "bold red",
}


def selection_view(selection: Selection) -> RenderableType:
    """Return the whole answer: per scope the table of L, the best under each runtime, the verdict, and why the others lost."""
    parts: list[RenderableType] = []
    for verdict in selection.verdicts:
        parts += [verdict_table(verdict, selection.inputs.metric), runtime_table(verdict), headline(verdict)]
        parts += [*_sentences(verdict), *_reasons(verdict)]
        parts += [f"[yellow]{escape(warning)}[/yellow]" for warning in verdict.warnings]
    if selection.objective.formula is Formula.PUBLISHED:
        parts.append(f"[yellow]{escape(PUBLISHED_FAULT)}[/yellow]")
    parts.append(f"selection {escape(selection.id)}; --json has every figure, ota replay recomputes it")
    return Group(*parts)


def verdict_table(verdict: Verdict, metric: str) -> Table:
    """Return schemes by L, best first, under the best setting of each class; terms and figures are means over the measured hosts."""
    table = plain_table("Candidates by L" + _for(verdict))
    table.add_column("scheme", overflow="fold")
    for name in ("size", "ms", metric, "dS", "dT", "dA", "dX", "L"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in verdict.rows:
        won = verdict.winner is not None and row.candidate == verdict.winner
        table.add_row(*_cells(row), style="bold green" if won else _STATUS_STYLE[row.status])
    return table


def runtime_table(verdict: Verdict) -> Table:
    """Return the best candidate of each device class under each of its runtimes: where they differ, the runtime decides."""
    table = plain_table("Best under each runtime")
    for name in ("devices", "runtime", "best there"):
        table.add_column(name, overflow="fold")
    for name in ("threads", "ms", "fast path", "L"):
        table.add_column(name, justify="right", no_wrap=True)
    proposed = dict(verdict.settings)
    for group in verdict.classes:
        for best in best_by_runtime(verdict, group.measured):
            setting = best.contender.setting
            chosen = (
                verdict.winner is not None
                and best.contender.scheme == verdict.winner.scheme
                and proposed.get(best.host) == setting
            )
            table.add_row(
                escape(", ".join(group.hosts)),
                escape(setting.runtime),
                escape(best.contender.scheme),
                str(setting.threads),
                f"{best.latency_ms.value:.3g}",
                "" if best.operators is None else f"{best.delegated} of {best.operators}",
                with_half_width(best.total),
                style="bold green" if chosen else "",
            )
    return table


def headline(verdict: Verdict) -> str:
    """Return the verdict in a sentence, in colour."""
    style = _HEADLINE_STYLE[verdict.answer]
    scope = _for(verdict)
    if verdict.winner is None:
        word = "no feasible candidate" if verdict.answer is Answer.NONE else verdict.answer.value
        return f"[{style}]{word}{escape(scope)}[/{style}]: {escape(verdict.cause)}"
    word = "winner" if verdict.answer is Answer.WINNER else "tie, proposed"
    total = next((row.total for row in verdict.rows if row.candidate == verdict.winner), None)
    figure = f", L {with_half_width(total)}" if total is not None else ""
    settings = sorted({str(setting) for _, setting in verdict.settings})
    ways = f" ({'; '.join(settings)})" if settings else ""
    stable = ""
    if verdict.stability is not None:
        stable = f"; first in {verdict.stability.resamples:.0%} of resamples and {verdict.stability.weights:.0%} of weights"
    return (
        f"[{style}]{word}{escape(scope)}: {escape(verdict.winner.scheme)}[/{style}]{escape(ways)}{figure}{stable}"
        + (f"\n{escape(verdict.cause)}" if verdict.cause else "")
    )


def with_half_width(estimate: Estimate) -> str:
    """Return a figure of L with half the width of its interval, such as `-1.22±0.02`."""
    return f"{signed(estimate.value)}±{(estimate.high - estimate.low) / 2:.2f}"


def _for(verdict: Verdict) -> str:
    return "" if verdict.scope == "all" else f" for {verdict.scope}"


def _cells(row: Row) -> list[str]:
    size = human_bytes(row.candidate.size_bytes).replace(" ", "") if row.candidate else ""
    latency = _mean([one.latency_ms.value for one in row.estimates], _short)
    quality = _mean([one.quality.metric.value for one in row.estimates], _short)
    deltas = [
        _mean([term.delta for one in row.estimates for term in one.terms if term.name == name], signed)
        for name in ("size", "latency", "accuracy", "transfer")
    ]
    last = (
        row.status.value
        if row.total is None or row.status is not Status.FEASIBLE
        else with_half_width(row.total)
    )
    return [escape(row.scheme), size, latency, quality, *deltas, last]


def _mean(values: Sequence[float], form: Callable[[float], str]) -> str:
    return form(sum(values) / len(values)) if values else ""


def _short(value: float) -> str:
    return f"{value:.3g}"


def best_by_runtime(verdict: Verdict, hosts: Sequence[str]) -> Iterator[ContenderEstimate]:
    """Yield, of the first measured host of a class, the contender with the least L under each runtime, best first."""
    infeasible = {row.scheme for row in verdict.rows if row.status is not Status.FEASIBLE}
    best: dict[str, ContenderEstimate] = {}
    for one in verdict.estimates:
        if one.host not in hosts[:1] or one.contender.scheme in infeasible:
            continue
        runtime = one.contender.setting.runtime
        if runtime not in best or one.total.value < best[runtime].total.value:
            best[runtime] = one
    yield from sorted(best.values(), key=lambda one: one.total.value)


def _sentences(verdict: Verdict) -> list[str]:
    """Return why candidates are slow, each sentence once, the first few; --json has all."""
    said = dict.fromkeys(one.why_slow for one in verdict.estimates if one.why_slow)
    lines = [escape(sentence) for sentence in list(said)[:_MOST_SENTENCES]]
    if len(said) > _MOST_SENTENCES:
        lines.append(
            f"({len(said) - _MOST_SENTENCES} more candidates are slow for the like: --json has them)"
        )
    return lines


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
