"""A selection as CSV, one line per contender and host, and as Markdown, for a spreadsheet and for a merge request."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from ota.core.samples import SampleLog
from ota.core.selection import Selection
from ota.core.verdict import ContenderEstimate, Estimate, Row, Verdict
from ota.core.vouched import Vouched
from ota.report import log_tables
from ota.report import page_tables as tables
from ota.report.page_tables import Sheet

COLUMNS = (
    "selection", "scope", "host", "scheme", "digest", "size_bytes", "runtime", "threads", "status", "L", "L_low", "L_high",
    *(f"d_{name}" for name in tables.TERMS), *(f"weight_{name}" for name in tables.TERMS),
    "latency_ms", "latency_ms_low", "latency_ms_high", "p90_ms", "p90_ms_low", "p90_ms_high", "p99_ms", "p99_ms_low", "p99_ms_high",
    "ratio", "ratio_low", "ratio_high", "metric", "metric_low", "metric_high", "right", "baseline_right", "lost", "gained", "samples",
    "mcnemar_p", "drop", "drop_lower", "drop_bound", "samples_needed", "memory_bytes", "transfer_s", "transfer_s_low", "transfer_s_high",
    "load_ms", "cold_ms", "delegated", "operators", "dominated_by", "blocks", "inferences", "dropped", "complete", "why_slow", "reason",
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
    by_name = {term.name: term for term in one.terms}
    terms = [by_name.get(name) for name in tables.TERMS]
    cells = [
        identity, verdict.scope, one.host, contender.scheme, str(contender.digest), size, contender.setting.runtime,
        contender.setting.threads, row.status.value, *_ends(one.total), *(term and term.delta for term in terms),
        *(term and term.weight for term in terms), *_ends(one.latency_ms), *_ends(one.p90_ms), *_ends(one.p99_ms), *_ends(one.ratio),
        *_ends(quality.metric), quality.right, quality.baseline_right, quality.lost, quality.gained, quality.samples, quality.mcnemar_p,
        quality.drop, quality.drop_lower, quality.drop_bound, quality.needed, one.memory_bytes, *_ends(one.transfer_s), one.load_ms,
        one.cold_ms, one.delegated, one.operators, row.dominated_by, one.blocks, one.inferences, one.dropped, one.complete, one.why_slow,
        row.reason,
    ]  # fmt: skip
    return [_safe(cell) if isinstance(cell, str) else cell for cell in cells]


def _ends(estimate: Estimate | None) -> tuple[float | None, float | None, float | None]:
    if estimate is None:
        return None, None, None
    return estimate.value, estimate.low, estimate.high


def _safe(text: str) -> str:
    """Return a text that a spreadsheet does not take for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def markdown_of(selection: Selection, log: SampleLog, vouched: Vouched | None = None) -> str:
    """Return the verdicts, the schemes, the best under each runtime, what was void or failed, and the provenance; `vouched` is what its signatures are worth."""
    return "\n".join(_markdown(selection, log, vouched)).rstrip() + "\n"


def _markdown(selection: Selection, log: SampleLog, vouched: Vouched | None) -> Iterator[str]:
    yield f"# {_escaped(selection.model)}: selection {_escaped(selection.id)}\n"
    if vouched is not None:
        yield f"The record is {_escaped(vouched.sentence)}.\n"
    for verdict in selection.verdicts:
        yield f"**{_escaped(tables.sentence(verdict))}**\n"
        if verdict.winner is not None and verdict.cause:
            yield f"{_escaped(verdict.cause)}.\n"
        yield from (f"{_escaped(line)}\n" for line in tables.stability_lines(verdict))
        yield f"{_escaped(tables.next_step(verdict))}\n"
        yield from (f"> {_escaped(warning)}\n" for warning in verdict.warnings)
        yield from _sheet(tables.schemes_sheet(verdict, selection.inputs.metric, selection.objective.limits))
        yield from _sheet(tables.reasons_sheet(verdict))
        yield from _sheet(tables.runtimes_sheet(verdict))
        slow = dict.fromkeys(
            line for group in verdict.classes for line in tables.slow_sentences(verdict, group)
        )
        if slow:
            yield "\n".join(["## Why some are slow\n", *(f"- {_escaped(line)}" for line in slow), ""])
        yield from _sheet(tables.regrets_sheet(verdict))
        yield from _sheet(tables.failures_sheet(verdict))
    yield from _sheet(log_tables.voids_sheet(log))
    yield from _sheet(log_tables.devices_sheet(log))
    yield from _sheet(log_tables.boards_sheet(log))
    yield from _sheet(log_tables.provenance_sheet(selection, log))


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
