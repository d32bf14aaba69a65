"""The tables of what a verdict rests on: void blocks, the devices and how they were, identities and digests; plain text cells as in `page_tables`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from ota.core.samples import HostLog, SampleLog
from ota.core.selection import Selection
from ota.report.page_tables import Line, Sheet
from ota.report.tables import human_bytes


def voids_sheet(log: SampleLog) -> Sheet:
    """Return the blocks that count for nothing, and why."""
    lines = tuple(
        Line(cells=(host.host, str(block.number), block.at, block.void), mark="void")
        for host in log.hosts
        for block in host.blocks
        if block.void
    )
    headers = ("host", "block", "at", "reason")
    return Sheet(
        title="Void blocks", headers=headers, lines=lines, numeric=frozenset({1}), prose=frozenset({3})
    )


def provenance_sheet(selection: Selection, log: SampleLog) -> Sheet:
    """Return what the selection rests on: identities, digests, versions, weights and limits."""
    inputs, objective = selection.inputs, selection.objective
    limits = {name: value for name, value in asdict(objective.limits).items() if value is not None}
    pairs = [
        ("selection", selection.id), ("created", selection.created), ("play", selection.play), ("model", selection.model),
        ("model digest", str(inputs.model)), ("evaluation samples", f"{inputs.samples}, {inputs.evaluation}"),
        ("probe samples", str(inputs.probe)),
        ("representative samples", str(inputs.representative) if inputs.representative else "none were needed"),
        ("metric", inputs.metric), ("objective", objective.formula.value), ("weights", _pairs(asdict(objective.weights))),
        ("limits", _pairs(limits) or "none"), ("seed", str(log.seed)), ("sample log", str(selection.log)),
        *((f"version of {name}", version) for name, version in inputs.versions),
        *((f"{candidate.scheme}.tflite", f"{candidate.size_bytes} bytes, {candidate.digest}") for candidate in log.candidates),
        *((f"{origin.scheme} was made by", f"{origin.tool} {origin.recipe}") for origin in log.origins),
        *((f"{origin.scheme} needs", "; ".join(origin.operators)) for origin in log.origins),
    ]  # fmt: skip
    lines = tuple(Line(cells=pair) for pair in pairs)
    return Sheet(title="Provenance", headers=("what", "value"), lines=lines, prose=frozenset({1}))


def devices_sheet(log: SampleLog) -> Sheet:
    """Return the measured hosts' facts and the conditions under which they were measured."""
    headers = (
        "host",
        "processor",
        "system",
        "Python",
        "C library",
        "memory",
        "runtimes",
        "governor",
        "clock MHz",
        "°C",
        "blocks",
    )
    lines = []
    for host in log.hosts:
        moments = [one for block in host.blocks for one in (block.watch.before, block.watch.after)]
        clocks = [khz / 1000 for one in moments for khz in one.clock_khz]
        heats = [one.temperature_c for one in moments if one.temperature_c is not None]
        facts = host.facts
        cells = (
            host.host, f"{facts.cpu_model}, {facts.cpu_count} processors, {facts.architecture}", f"{facts.os}, {facts.kernel}",
            f"{'.'.join(map(str, facts.python))}, {facts.python_bits} bits", facts.libc, human_bytes(facts.memory_total_bytes),
            ", ".join(host.runtimes), ", ".join(sorted({one.governor for one in moments if one.governor})) or "not told",
            _range(clocks, "{:.0f}"), _range(heats, "{:.1f}"), f"{sum(not b.void for b in host.blocks)} of {len(host.blocks)} count",
        )  # fmt: skip
        lines.append(Line(cells=cells))
    return Sheet(title="Devices", headers=headers, lines=tuple(lines))


def boards_sheet(log: SampleLog) -> Sheet:
    """Return what tells the measured boards from others of their kind, a line for each thing that a board told."""
    lines = tuple(
        Line(cells=(host.host, what, value)) for host in log.hosts for what, value in _board(host) if value
    )
    return Sheet(title="Boards", headers=("host", "what", "value"), lines=lines, prose=frozenset({2}))


def _board(host: HostLog) -> Iterator[tuple[str, str]]:
    facts = host.facts
    free = [block.watch.before.memory_available_bytes for block in host.blocks]
    told = [one for one in free if one is not None]
    yield "revision", facts.board_revision
    yield "serial number", facts.serial_sha256 and f"sha256:{facts.serial_sha256}"
    yield "firmware", facts.firmware
    yield "clock limits", ", ".join(f"{low} to {high} kHz" for low, high in facts.clock_limits_khz)
    yield "timed by", facts.clock_source
    yield "may run on", f"processors {', '.join(map(str, facts.affinity))}" if facts.affinity else ""
    yield "least free memory before a block", human_bytes(min(told)) if told else ""
    for runtime in facts.runtimes:
        if runtime.label in host.runtimes:
            yield f"wheel of {runtime.label}", runtime.wheel_sha256 and f"sha256:{runtime.wheel_sha256}"
    yield "processor features", " ".join(facts.cpu_features)


def _range(values: Sequence[float], form: str) -> str:
    if not values:
        return "not told"
    least, most = form.format(min(values)), form.format(max(values))
    return least if least == most else f"{least} to {most}"


def _pairs(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
