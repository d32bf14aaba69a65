"""Tables of the fleet for people: facts, runtimes, what runs where; they fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from ota.core.facts import Facts, Runtime
from ota.core.host_status import HostStatus, drift
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


def provision_table(
    rows: Sequence[tuple[str, Sequence[Runtime], Sequence[str], bool, int, OtaError | None]],
) -> Table:
    """Return hosts with the runtimes they have, and would get; (host, runtimes, planned, changed, bytes sent, error)."""
    table = plain_table("Runtimes", "host", "runtimes", "result", "sent")
    for host, runtimes, planned, changed, sent, error in rows:
        if error is not None:
            table.add_row(escape(host), "", trouble(error), "")
            continue
        labels = escape(", ".join([*(runtime.label for runtime in runtimes), *planned]))
        if planned:
            table.add_row(escape(host), labels, "[yellow]would change[/yellow]", "")
        else:
            word = "[yellow]changed[/yellow]" if changed else "[green]ok[/green]"
            table.add_row(escape(host), labels, word, human_bytes(sent))
    return table


def status_table(model: str, hosts: Sequence[HostStatus]) -> Table:
    """Return hosts with what they run, read back now, and where that is not what it should be."""
    table = plain_table(model, "host", "current", "previous", "state", "runs under", "free")
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
            escape(_under(host)),
            human_bytes(host.slot.disk_free_bytes),
        )
    return table


def _under(host: HostStatus) -> str:
    """Return how the current release is to be run; where it does not say, what there is."""
    if host.slot is not None and host.slot.setting is not None:
        return str(host.slot.setting)
    return ", ".join(runtime.label for runtime in host.runtimes) or "no runtime"
