"""A selection as CSV, one line per contender and host, and as Markdown, for a spreadsheet and for a merge request."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from ota.core.samples import SampleLog
from ota.core.selection import Selection
from ota.core.verdict import ContenderEstimate, Estimate, Row, Verdict
from ota.report import page_tables as tables
from ota.report.page_tables import Sheet

COLUMNS = (
    "selection", "scope", "host", "scheme", "digest", "size_bytes", "runtime", "threads", "status", "L", "L_low", "L_high",
    "latency_ms", "latency_ms_low", "latency_ms_high", "ratio", "ratio_low", "ratio_high", "metric", "metric_low", "metric_high",
    "right", "samples", "mcnemar_p", "drop", "drop_bound", "memory_bytes", "transfer_s", "load_ms", "cold_ms", "delegated", "operators",
    "blocks", "inferences", "dropped", "complete", "why_slow", "reason",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = str.maketrans(
    {c: "\\" + c for c in "\\`*_{}[]#|~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " ", "\r": " "}
)


def csv_of(selection: Selection) -> str:
    """Return one line per scope, host and contender, and one per scheme that was measured nowhere; numbers are whole, not rounded for people."""
    held = io.StringIO()
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(COLUMNS)
    for verdict in selection.verdicts:
        rows = {row.scheme: row for row in verdict.rows}
        for one in verdict.estimates:
            writer.writerow(_cells(selection.id, verdict, one, rows[one.contender.scheme]))
        seen = {one.contender.scheme for one in verdict.estimates}
        for row in verdict.rows:
            if row.scheme not in seen:
                named = {"selection": selection.id, "scope": verdict.scope, "scheme": row.scheme}
                named |= {"status": row.status.value, "reason": row.reason}
                writer.writerow([_safe(named.get(column, "")) for column in COLUMNS])
    return held.getvalue()


def _cells(identity: str, verdict: Verdict, one: ContenderEstimate, row: Row) -> list[object]:
    contender, quality = one.contender, one.quality
    size = None if row.candidate is None else row.candidate.size_bytes
    cells = [
        identity, verdict.scope, one.host, contender.scheme, str(contender.digest), size, contender.setting.runtime,
        contender.setting.threads, row.status.value, *_ends(one.total), *_ends(one.latency_ms), *_ends(one.ratio), *_ends(quality.metric),
        quality.right, quality.samples, quality.mcnemar_p, quality.drop, quality.drop_bound, one.memory_bytes, one.transfer_s.value,
        one.load_ms, one.cold_ms, one.delegated, one.operators, one.blocks, one.inferences, one.dropped, one.complete, one.why_slow,
        row.reason,
    ]  # fmt: skip
    return [_safe(cell) if isinstance(cell, str) else cell for cell in cells]


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _safe(text: str) -> str:
    """Return a text that a spreadsheet does not take for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def markdown_of(selection: Selection, log: SampleLog) -> str:
    """Return the verdicts, the schemes, the best under each runtime, what was void or failed, and the provenance."""
    return "\n".join(_markdown(selection, log)).rstrip() + "\n"


def _markdown(selection: Selection, log: SampleLog) -> Iterator[str]:
    yield f"# {_escaped(selection.model)}: selection {_escaped(selection.id)}\n"
    for verdict in selection.verdicts:
        yield f"**{_escaped(tables.sentence(verdict))}**\n"
        if verdict.winner is not None and verdict.cause:
            yield f"{_escaped(verdict.cause)}.\n"
        yield from (f"{_escaped(line)}\n" for line in tables.stability_lines(verdict))
        yield from (f"> {_escaped(warning)}\n" for warning in verdict.warnings)
        yield from _sheet(tables.schemes_sheet(verdict, selection.inputs.metric))
        yield from _sheet(tables.runtimes_sheet(verdict))
        slow = dict.fromkeys(
            line for group in verdict.classes for line in tables.slow_sentences(verdict, group)
        )
        if slow:
            yield "\n".join(["## Why some are slow\n", *(f"- {_escaped(line)}" for line in slow), ""])
        yield from _sheet(tables.regrets_sheet(verdict))
        yield from _sheet(tables.failures_sheet(verdict))
    yield from _sheet(tables.voids_sheet(log))
    yield from _sheet(tables.devices_sheet(log))
    yield from _sheet(tables.provenance_sheet(selection, log))


def _sheet(sheet: Sheet) -> Iterator[str]:
    """Yield a table with its title, nothing where it has no line."""
    if not sheet.lines:
        return
    yield f"## {_escaped(sheet.title)}\n"
    yield _line(sheet.headers)
    yield (
        "|" + "|".join(" ---: " if at in sheet.numeric else " --- " for at in range(len(sheet.headers))) + "|"
    )
    yield from (_line(line.cells) for line in sheet.lines)
    yield ""


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    return text.translate(_MARKDOWN)
