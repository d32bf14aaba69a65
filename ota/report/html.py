"""A selection as one HTML page that needs nothing else: no network, no script; the same selection and log give the same bytes.

What names, reasons and labels say comes from devices and files: the template engine escapes all of it, and a name that the page does not know is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from ota.core.objective import PUBLISHED_FAULT, Formula
from ota.core.samples import HostLog, SampleLog
from ota.core.selection import Selection
from ota.core.verdict import Row, Verdict
from ota.core.vouched import Vouched
from ota.report import device_plots, log_tables, plots
from ota.report import page_tables as tables
from ota.report.figure import Plot
from ota.report.page_tables import Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPart:
    """What the page says of one device class."""

    name: str
    hosts: tuple[str, ...]
    contenders: Sheet
    slow: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopePart:
    """What the page says of one scope; `answer` is the verdict's, for its colour."""

    scope: str
    answer: str
    sentence: str
    cause: str
    following: str
    stability: tuple[str, ...]
    warnings: tuple[str, ...]
    schemes: Sheet
    reasons: Sheet
    runtimes: Sheet
    classes: tuple[ClassPart, ...]
    regrets: Sheet
    failures: Sheet
    plots: tuple[Plot, ...]


def page(selection: Selection, log: SampleLog, vouched: Vouched | None = None) -> str:
    """Return the report of a selection and its sample log; `vouched` is what its signatures are worth."""
    environment = Environment(
        loader=PackageLoader("ota.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.jinja")
    published = selection.objective.formula is Formula.PUBLISHED
    return template.render(
        selection=selection,
        vouched=vouched,
        note=PUBLISHED_FAULT if published else "",
        scopes=[_scope(number, verdict, selection) for number, verdict in enumerate(selection.verdicts)],
        hosts=[(host.host, tuple(_host_plots(number, host))) for number, host in enumerate(log.hosts)],
        voids=log_tables.voids_sheet(log),
        devices=log_tables.devices_sheet(log),
        boards=log_tables.boards_sheet(log),
        provenance=log_tables.provenance_sheet(selection, log),
        confusions=tuple(_confusions(selection)),
    )


def _scope(number: int, verdict: Verdict, selection: Selection) -> ScopePart:
    metric, limits = selection.inputs.metric, selection.objective.limits
    return ScopePart(
        scope=verdict.scope,
        answer=verdict.answer.value,
        sentence=tables.sentence(verdict),
        cause=verdict.cause if verdict.winner else "",
        following=tables.next_step(verdict),
        stability=tables.stability_lines(verdict),
        warnings=verdict.warnings,
        schemes=tables.schemes_sheet(verdict, metric, limits),
        reasons=tables.reasons_sheet(verdict),
        runtimes=tables.runtimes_sheet(verdict),
        classes=tuple(
            ClassPart(
                name=group.name,
                hosts=group.hosts,
                contenders=tables.contenders_sheet(verdict, group),
                slow=tables.slow_sentences(verdict, group),
            )
            for group in verdict.classes
        ),
        regrets=tables.regrets_sheet(verdict),
        failures=tables.failures_sheet(verdict),
        plots=tuple(_verdict_plots(f"scope{number}", verdict)),
    )


def _verdict_plots(name: str, verdict: Verdict) -> Iterator[Plot]:
    measured = [row for row in verdict.rows if row.estimates]
    if not measured:
        return
    pieces = [
        (row, {term: pair[0] for term, pair in tables.weighted_terms(row, verdict).items()})
        for row in measured
    ]
    yield Plot(
        caption="L of each scheme by term, with its 95 % interval: each piece is a weighted change against float32; at an arrow a bar goes on",
        svg=plots.terms_plot(f"{name}-terms", pieces),
    )
    points = [
        (row, row.candidate.size_bytes / 1000, _latency(row, verdict), _loss(row, verdict))
        for row in measured
        if row.candidate is not None
    ]
    yield Plot(
        caption="Size against latency, the loss of accuracy as colour; schemes on the Pareto front are circles",
        svg=plots.pareto_plot(f"{name}-pareto", points),
    )


def _latency(row: Row, verdict: Verdict) -> float:
    return tables.class_mean(row, verdict, lambda one: one.latency_ms.value)


def _loss(row: Row, verdict: Verdict) -> float:
    return tables.class_mean(row, verdict, lambda one: one.quality.drop)


def _host_plots(number: int, host: HostLog) -> Iterator[Plot]:
    latencies = device_plots.latency_plots(f"host{number}-latency", host)
    for at, svg in enumerate(latencies, 1):
        part = f" ({at} of {len(latencies)})" if len(latencies) > 1 else ""
        caption = f"{host.host}, latency{part}: how long inferences took, fastest contender first, a colour for each runtime"
        yield Plot(caption=caption, svg=svg)
    timeline = device_plots.timeline_plot(f"host{number}-timeline", host)
    if timeline is not None:
        caption = f"{host.host}, timeline: blocks over time with clock and temperature, void blocks hatched"
        yield Plot(caption=caption, svg=timeline)


def _confusions(selection: Selection) -> Iterator[Plot]:
    for number, one in enumerate(one for one in selection.confusions if one.counts):
        caption = (
            f"Confusion matrix of {one.scheme} on {one.host}: true classes down, answered classes across"
        )
        if len(one.counts) > plots.MOST_LABELS:
            caption += f"; the {plots.MOST_LABELS} of {len(one.counts)} classes with the most wrong answers"
        yield Plot(caption=caption, svg=plots.confusion_plot(f"confusion{number}", one))
