"""The tables of the selection report as plain text cells: what the HTML page, the Markdown and the CSV share.

Nothing here is escaped: whoever renders a table does that. A figure is shown with the ends of its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import mean

from ota.core.device_class import DeviceClass
from ota.core.metric import metric_named
from ota.core.objective import Limits
from ota.core.verdict import Answer, ContenderEstimate, Estimate, Row, Status, Verdict
from ota.report.selection_view import best_by_runtime
from ota.report.tables import human_bytes, signed

TERMS = ("size", "latency", "accuracy", "transfer")
_NEXT = {
    Answer.WINNER: "Next: ota deploy rolls it out.",
    Answer.TIE: "Next: ota deploy rolls out the proposed one; these measurements do not tell the others of the tie from it.",
    Answer.UNRELIABLE: "Next: mend the cause, then ota select measures again.",
    Answer.NONE: "Next: see below why each was not chosen; loosen that limit, bring more evaluation samples or name more schemes, then ota select.",
}


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


def next_step(verdict: Verdict) -> str:
    """Return what a person does with the verdict."""
    return _NEXT[verdict.answer]


def schemes_sheet(verdict: Verdict, metric: str, limits: Limits) -> Sheet:
    """Return the schemes, best first; figures of a device are the worst of the measured hosts where they have a bound, else means over the classes."""
    right = metric_named(metric).classification
    limit = "" if limits.accuracy_drop is None else f" (limit {limits.accuracy_drop:.2%})"
    headers = (
        "scheme", "status", "L", "dS", "dT", "dA", "dX", "size", "ms", metric, *(("k/n", "McNemar p") if right else ()),
        f"loss at most{limit}", "memory", "transfer", "Pareto", "settings",
    )  # fmt: skip
    lines = tuple(
        Line(cells=_scheme(row, verdict, right=right), mark=_mark(row, verdict)) for row in verdict.rows
    )
    last = len(headers) - 1
    return Sheet(
        title="Schemes by L",
        headers=headers,
        lines=lines,
        numeric=frozenset(range(2, last - 1)),
        prose=frozenset({last}),
    )


def reasons_sheet(verdict: Verdict) -> Sheet:
    """Return why each of the others was not chosen."""
    lines = tuple(
        Line(cells=(row.scheme, _status(row, verdict), row.reason), mark=_mark(row, verdict))
        for row in verdict.rows
        if row.reason
    )
    headers = ("scheme", "status", "reason")
    return Sheet(title="Why not the others", headers=headers, lines=lines, prose=frozenset({2}))


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
        _status(row, verdict),
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
        _settings(row, verdict),
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
    found = sorted(
        (one for one in verdict.estimates if one.host in group.measured),
        key=lambda one: (group.measured.index(one.host), one.total.value, one.contender),
    )
    lines = []
    for one in found:
        setting, scheme = one.contender.setting, one.contender.scheme
        cells = (
            one.host, scheme, setting.runtime, str(setting.threads), spread(one.ratio, _short), spread(one.latency_ms, _short),
            _tail(one.p90_ms), _tail(one.p99_ms), _short(one.cold_ms), spread(one.total, signed), fast_path(one), str(one.blocks),
            str(one.inferences), _race(one),
        )  # fmt: skip
        lines.append(Line(cells=cells, mark="won" if _chosen(one, verdict) else ""))
    numeric = frozenset({3, 4, 5, 6, 7, 8, 9, 11, 12})
    return Sheet(title="All contenders", headers=headers, lines=tuple(lines), numeric=numeric)


def runtimes_sheet(verdict: Verdict) -> Sheet:
    """Return the best candidate of each measured host under each of its runtimes: where they differ, the runtime decides."""
    headers = ("host", "runtime", "best there", "threads", "ms", "fast path", "L", "class")
    lines = []
    measured = [(host, group.name) for group in verdict.classes for host in group.measured]
    for host, class_name in measured:
        for best in best_by_runtime(verdict, (host,)):
            setting = best.contender.setting
            cells = (
                host, setting.runtime, best.contender.scheme, str(setting.threads), spread(best.latency_ms, _short), fast_path(best),
                spread(best.total, signed), class_name,
            )  # fmt: skip
            lines.append(Line(cells=cells, mark="won" if _chosen(best, verdict) else ""))
    numeric, prose = frozenset({3, 4, 6}), frozenset({7})
    return Sheet(
        title="Best under each runtime", headers=headers, lines=tuple(lines), numeric=numeric, prose=prose
    )


def regrets_sheet(verdict: Verdict) -> Sheet:
    """Return what one winner for all costs each class."""
    lines = tuple(Line(cells=(one.device_class, one.best, f"{one.regret:.4f}")) for one in verdict.regrets)
    headers = ("class", "best there", "regret in L")
    title = "What one winner for all costs each class"
    return Sheet(title=title, headers=headers, lines=lines, numeric=frozenset({2}), prose=frozenset({0}))


def failures_sheet(verdict: Verdict) -> Sheet:
    """Return what could not be made, sent, loaded or run, whole; hosts on which the same went wrong share a line."""
    hosts: dict[tuple[str, str, str, str], list[str]] = {}
    for row in verdict.rows:
        for one in row.failures:
            held = hosts.setdefault((row.scheme, one.kind.value, one.runtime, one.reason), [])
            held += [one.host] if one.host is not None else []
    lines = tuple(
        Line(cells=(scheme, kind, runtime, ", ".join(held), reason), mark="failed")
        for (scheme, kind, runtime, reason), held in hosts.items()
    )
    headers = ("scheme", "at", "runtime", "hosts", "reason")
    return Sheet(title="Failures", headers=headers, lines=lines, prose=frozenset({3, 4}))


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


def _status(row: Row, verdict: Verdict) -> str:
    return f"{row.status.value}, tied" if row.scheme in verdict.tied else row.status.value


def _chosen(one: ContenderEstimate, verdict: Verdict) -> bool:
    """Return whether this is what its host is to run."""
    if verdict.winner is None or one.contender.scheme != verdict.winner.scheme:
        return False
    return dict(verdict.settings).get(one.host) == one.contender.setting


def _settings(row: Row, verdict: Verdict) -> str:
    """Return the setting of each class, by its hosts; once where all agree."""
    hosts: dict[str, list[str]] = {}
    for name, setting in row.settings:
        own = [host for group in verdict.classes if group.name == name for host in group.hosts]
        hosts.setdefault(str(setting), []).extend(own or [name])
    if len(hosts) == 1:
        return next(iter(hosts))
    return "; ".join(f"{setting} ({', '.join(names)})" for setting, names in hosts.items())


def _race(one: ContenderEstimate) -> str:
    stayed = "stayed" if one.dropped is None else f"dropped after block {one.dropped}"
    return stayed if one.complete else f"{stayed}, not on every sample"


def _tail(estimate: Estimate | None) -> str:
    return "" if estimate is None else _short(estimate.value)


def _short(value: float) -> str:
    """Return three significant digits, a zero at the end too: figures of a column are comparable."""
    return f"{value:#.3g}".rstrip(".") if abs(value) < 999.5 else f"{value:.0f}"
