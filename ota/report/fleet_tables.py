"""Tables of the fleet for people: facts, runtimes, what runs where, what happened before; they fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from ota.core.facts import Facts, Runtime
from ota.core.host_status import HostStatus, drift
from ota.core.selection import Selection
from ota.errors import OtaError, UnreachableError
from ota.report.tables import human_bytes, plain_table

_SHORT = 12
"""Digits of a release id that a table shows; --json has it whole."""


def trouble(error: OtaError) -> str:
    """Return an error as a cell."""
    word = "unreachable" if isinstance(error, UnreachableError) else "failed"
    return f"[red]{word}[/red]: {escape(error.reason)}"


def ping_table(rows: Sequence[tuple[str, Facts | None, OtaError | None]]) -> Table:
    """Return hosts with their facts, or why there are none."""
    table = plain_table("Devices", "host", "architecture", "system", "Python", "CPUs", "memory", "disk free")
    for host, facts, error in rows:
        if facts is None:
            table.add_row(escape(host), trouble(error) if error else "")
            continue
        table.add_row(
            escape(host),
            escape(facts.architecture),
            escape(f"{facts.os}, {facts.libc}"),
            ".".join(map(str, facts.python)),
            str(facts.cpu_count),
            human_bytes(facts.memory_total_bytes),
            human_bytes(facts.disk_free_bytes),
        )
    return table


def provision_table(rows: Sequence[tuple[str, Runtime | None, str, bool, int, OtaError | None]]) -> Table:
    """Return hosts with the runtime they have, or would get; (host, runtime, planned, changed, bytes sent, error)."""
    table = plain_table("Runtimes", "host", "runtime", "result", "sent")
    for host, runtime, planned, changed, sent, error in rows:
        if error is not None:
            table.add_row(escape(host), "", trouble(error), "")
        elif runtime is None:
            table.add_row(escape(host), escape(planned), "[yellow]would change[/yellow]", "")
        else:
            word = "[yellow]changed[/yellow]" if changed else "[green]ok[/green]"
            table.add_row(escape(host), escape(runtime.label), word, human_bytes(sent))
    return table


def status_table(model: str, hosts: Sequence[HostStatus]) -> Table:
    """Return hosts with what they run, read back now, and where that is not what it should be."""
    table = plain_table(model, "host", "current", "previous", "state", "runtime", "free")
    for host in hosts:
        if host.slot is None:
            table.add_row(escape(host.host), "", "", trouble(host.error) if host.error else "", "", "")
            continue
        wrong = drift(host)
        table.add_row(
            escape(host.host),
            escape((host.slot.current or "none")[:_SHORT]),
            escape((host.slot.previous or "none")[:_SHORT]),
            f"[yellow]{escape(wrong)}[/yellow]" if wrong else "[green]ok[/green]",
            escape(", ".join(runtime.label for runtime in host.runtimes) or "none"),
            human_bytes(host.slot.disk_free_bytes),
        )
    return table


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
            best = verdict.rows[0].total if verdict.winner else None
            choices.add_row(
                escape(selection.id),
                escape(selection.play if verdict.scope == "all" else f"{selection.play}, {verdict.scope}"),
                escape(verdict.winner.scheme if verdict.winner else "none"),
                "" if best is None else f"{best:+.2f}",
            )
    ends = plain_table("Rollouts", "started", "kind", "play", "hosts")
    for row in rollouts:
        ends.add_row(*(escape(cell) for cell in row))
    return Group(commands, choices, ends)
