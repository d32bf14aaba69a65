"""The tables of the selection report as plain text cells: what the HTML page, the Markdown and the CSV share.

Nothing here is escaped: whoever renders a table does that. A figure is shown with the ends of its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import mean

from ota.core.metric import metric_named
from ota.core.samples import DeviceClass, SampleLog
from ota.core.selection import Selection
from ota.core.verdict import Answer, ContenderEstimate, Estimate, Row, Status, Verdict
from ota.report.selection_view import best_by_runtime
from ota.report.tables import human_bytes, signed

TERMS = ("size", "latency", "accuracy", "transfer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a table; `mark` is `won`, `rejected`, `failed`, `undecided`, `void` or empty."""

    cells: tuple[str, ...]
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table: `numeric` are the columns that are aligned right, `prose` those that may be long."""

    title: str
    headers: tuple[str, ...]
    lines: tuple[Line, ...]
    numeric: frozenset[int] = frozenset()
    prose: frozenset[int] = frozenset()


def sentence(verdict: Verdict) -> str:
    """Return the verdict in one sentence, with its scope, settings and L."""
    scope = "" if verdict.scope == "all" else f" for {verdict.scope}"
    if verdict.winner is None:
        word = (
            "No feasible candidate" if verdict.answer is Answer.NONE else "Unreliable measurements, no winner"
        )
        return f"{word}{scope}: {verdict.cause}."
    total = next((row.total for row in verdict.rows if row.candidate == verdict.winner), None)
    figure = "" if total is None else f" with L {spread(total, signed)}"
    ways = "; ".join(sorted({str(setting) for _, setting in verdict.settings}))
    word = "Winner" if verdict.answer is Answer.WINNER else "Tie, proposed"
    return f"{word}{scope}: {verdict.winner.scheme}{figure}" + (f", under {ways}." if ways else ".")


def stability_lines(verdict: Verdict) -> tuple[str, ...]:
    """Return how stable the proposal is, a sentence for the shares and one for each flip; nothing without a proposal."""
    stability = verdict.stability
    if stability is None or verdict.winner is None:
        return ()
    first = f"{verdict.winner.scheme} is first in {stability.resamples:.1%} of resamples and {stability.weights:.1%} of all weights."
    today = {term.name: term.weight for one in verdict.estimates for term in one.terms}
    flips = [
        f"At a weight of {flip.weight:.3g} for {flip.term} or {'more' if flip.weight > today.get(flip.term, 1.0) else 'less'}, {flip.rival} comes first."
        for flip in stability.flips
    ]
    return (first, *(flips or ["No weight of a single term makes another come first."]))


def schemes_sheet(verdict: Verdict, metric: str) -> Sheet:
    """Return the schemes, best first; figures of a device are the worst of the measured hosts where they have a bound, else means over the classes."""
    right = metric_named(metric).classification
    headers = (
        "scheme", "status", "L", "dS", "dT", "dA", "dX", "size", "ms", metric, *(("k/n", "McNemar p") if right else ()),
        "loss at most", "memory", "transfer", "Pareto", "settings", "reason",
    )  # fmt: skip
    lines = tuple(
        Line(cells=_scheme(row, verdict, right=right), mark=_mark(row, verdict)) for row in verdict.rows
    )
    last = len(headers) - 1
    return Sheet(
        title="Schemes by L",
        headers=headers,
        lines=lines,
        numeric=frozenset(range(2, last - 2)),
        prose=frozenset({last - 1, last}),
    )


def _scheme(row: Row, verdict: Verdict, *, right: bool) -> tuple[str, ...]:
    found, empty = row.estimates, not row.estimates
    worst = max(found, key=lambda one: one.quality.drop_bound, default=None)
    size = "" if row.candidate is None else human_bytes(row.candidate.size_bytes)
    terms = weighted_terms(row, verdict)
    pairs = () if not right else ("", "")
    if right and worst is not None:
        pairs = (f"{worst.quality.right}/{worst.quality.samples}", f"{worst.quality.mcnemar_p:.3g}")
    memory = [one.memory_bytes for one in found if one.memory_bytes is not None]
    front = "" if empty or row.status is not Status.FEASIBLE else "on the front"
    return (
        row.scheme,
        row.status.value,
        "" if row.total is None else spread(row.total, signed),
        *("" if empty or name not in terms else signed(terms[name][1]) for name in TERMS),
        size,
        "" if empty else _short(class_mean(row, verdict, lambda one: one.latency_ms.value)),
        "" if worst is None else spread(worst.quality.metric, _short),
        *pairs,
        "" if worst is None else f"{worst.quality.drop_bound:.2%}",
        human_bytes(max(memory)) if memory else "",
        "" if empty else f"{class_mean(row, verdict, lambda one: one.transfer_s.value):.3g} s",
        f"dominated by {row.dominated_by}" if row.dominated_by else front,
        _settings(row),
        row.reason,
    )


def weighted_terms(row: Row, verdict: Verdict) -> dict[str, tuple[float, float]]:
    """Return term name -> (weight times change, change), each the mean over the classes, as L is."""
    names = dict.fromkeys(term.name for one in row.estimates for term in one.terms)
    return {
        name: (
            class_mean(row, verdict, partial(_delta, name=name, weighted=True)),
            class_mean(row, verdict, partial(_delta, name=name, weighted=False)),
        )
        for name in names
    }


def _delta(one: ContenderEstimate, *, name: str, weighted: bool) -> float:
    return sum(term.delta * (term.weight if weighted else 1.0) for term in one.terms if term.name == name)


def class_mean(row: Row, verdict: Verdict, value: Callable[[ContenderEstimate], float]) -> float:
    """Return the mean over the device classes of the mean over a class's measured hosts; 0.0 where there is none."""
    by_class = [
        [value(one) for one in row.estimates if one.host in group.measured] for group in verdict.classes
    ]
    return mean([mean(values) for values in by_class if values] or [0.0])


def contenders_sheet(verdict: Verdict, group: DeviceClass) -> Sheet:
    """Return every contender on every measured host of a class, by L."""
    headers = (
        "host", "scheme", "runtime", "threads", "ratio to baseline", "ms", "p90 ms", "p99 ms", "cold ms", "L", "fast path", "blocks",
        "inferences", "race",
    )  # fmt: skip
    chosen = dict(verdict.settings)
    found = sorted(
        (one for one in verdict.estimates if one.host in group.measured),
        key=lambda one: (group.measured.index(one.host), one.total.value, one.contender),
    )
    lines = []
    for one in found:
        setting, scheme = one.contender.setting, one.contender.scheme
        won = (
            verdict.winner is not None and scheme == verdict.winner.scheme and chosen.get(one.host) == setting
        )
        cells = (
            one.host, scheme, setting.runtime, str(setting.threads), spread(one.ratio, _short), spread(one.latency_ms, _short),
            _tail(one.p90_ms), _tail(one.p99_ms), _short(one.cold_ms), spread(one.total, signed), fast_path(one), str(one.blocks),
            str(one.inferences), _race(one),
        )  # fmt: skip
        lines.append(Line(cells=cells, mark="won" if won else ""))
    numeric = frozenset({3, 4, 5, 6, 7, 8, 9, 11, 12})
    return Sheet(title="All contenders", headers=headers, lines=tuple(lines), numeric=numeric)


def runtimes_sheet(verdict: Verdict) -> Sheet:
    """Return the best candidate of each device class under each of its runtimes: where they differ, the runtime decides."""
    headers = ("class", "hosts", "runtime", "best there", "threads", "ms", "fast path", "L")
    lines = []
    for group in verdict.classes:
        for best in best_by_runtime(verdict, group.measured):
            setting = best.contender.setting
            cells = (
                group.name, ", ".join(group.hosts), setting.runtime, best.contender.scheme, str(setting.threads),
                spread(best.latency_ms, _short), fast_path(best), spread(best.total, signed),
            )  # fmt: skip
            lines.append(Line(cells=cells))
    return Sheet(
        title="Best under each runtime", headers=headers, lines=tuple(lines), numeric=frozenset({4, 5, 7})
    )


def regrets_sheet(verdict: Verdict) -> Sheet:
    """Return what one winner for all costs each class."""
    lines = tuple(Line(cells=(one.device_class, one.best, f"{one.regret:.4f}")) for one in verdict.regrets)
    headers = ("class", "best there", "regret in L")
    return Sheet(
        title="What one winner for all costs each class", headers=headers, lines=lines, numeric=frozenset({2})
    )


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


def failures_sheet(verdict: Verdict) -> Sheet:
    """Return what could not be made, sent, loaded or run, whole."""
    lines = tuple(
        Line(cells=(row.scheme, one.kind.value, one.host or "", one.runtime, one.reason), mark="failed")
        for row in verdict.rows
        for one in row.failures
    )
    headers = ("scheme", "at", "host", "runtime", "reason")
    return Sheet(title="Failures", headers=headers, lines=lines, prose=frozenset({4}))


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


def slow_sentences(verdict: Verdict, group: DeviceClass) -> tuple[str, ...]:
    """Return why contenders of a class are slow, each sentence once."""
    return tuple(
        dict.fromkeys(
            one.why_slow for one in verdict.estimates if one.host in group.measured and one.why_slow
        )
    )


def spread(estimate: Estimate, form: Callable[[float], str]) -> str:
    """Return a figure with the ends of its interval, such as `4.1 [4.0, 4.2]`."""
    return f"{form(estimate.value)} [{form(estimate.low)}, {form(estimate.high)}]"


def fast_path(one: ContenderEstimate) -> str:
    """Return how many of the operators a delegate took; empty where that is not known."""
    return "" if one.operators is None or one.delegated is None else f"{one.delegated} of {one.operators}"


def _mark(row: Row, verdict: Verdict) -> str:
    if verdict.winner is not None and row.candidate == verdict.winner:
        return "won"
    return "" if row.status is Status.FEASIBLE else row.status.value


def _settings(row: Row) -> str:
    """Return the setting of each class, once where they agree."""
    settings = {str(setting) for _, setting in row.settings}
    if len(settings) == 1:
        return settings.pop()
    return "; ".join(f"{name}: {setting}" for name, setting in row.settings)


def _race(one: ContenderEstimate) -> str:
    stayed = "stayed" if one.dropped is None else f"dropped after block {one.dropped}"
    return stayed if one.complete else f"{stayed}, not on every sample"


def _tail(estimate: Estimate | None) -> str:
    return "" if estimate is None else _short(estimate.value)


def _range(values: Sequence[float], form: str) -> str:
    if not values:
        return "not told"
    least, most = form.format(min(values)), form.format(max(values))
    return least if least == most else f"{least} to {most}"


def _pairs(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
