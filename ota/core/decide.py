"""From measurements to a verdict: the limits, the mean over the hosts, the order and the words for it; `ota.core.terms` has L.

T is the median of the raw samples where the published method takes the mean: one page fault must not choose a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ota.core.measurement import Candidate, Failure, Measurement
from ota.core.metric import Metric
from ota.core.objective import Limits, Objective, Row, Score, Status, Verdict
from ota.core.scheme import BASELINE, SCHEMES
from ota.core.terms import Figures, relative_change, terms_of, total_of

PUBLISHED_FAULT = (
    "objective: published adds (A - A0)/A0 as printed, so a network that loses accuracy scores better; it is here to reproduce "
    "the published table, not to choose with"
)

_ORDER = {scheme.name: place for place, scheme in enumerate(SCHEMES)}


def figures_of(measurement: Measurement, metric: Metric) -> Figures:
    """Return the figures of a measurement, which ran once on every sample."""
    return Figures(
        samples=len(measurement.latencies_ns),
        size_bytes=measurement.size_bytes,
        latency_ms=measurement.latency_ms,
        quality=measurement.metric(metric.name),
        transfer_s=measurement.transfer_s,
    )


def decide(
    *,
    candidates: Sequence[Candidate],
    measurements: Sequence[Measurement],
    failures: Sequence[Failure],
    objective: Objective,
    metric: Metric,
    hosts: Sequence[str],
    scope: str = "all",
) -> Verdict:
    """Return the verdict over `hosts`: a candidate must be measured on all of them and keep the limits; least mean L wins.

    Equal L: the smaller file, then the simpler scheme (its place in SCHEMES). The result does not depend on the order of the input.
    """
    by_place = {(m.scheme, m.host): m for m in measurements if m.host in hosts}
    relevant = [f for f in failures if f.host is None or f.host in hosts]
    by_scheme = {candidate.scheme: candidate for candidate in candidates}
    names = sorted(
        {*by_scheme, *(failure.scheme for failure in relevant)},
        key=lambda name: (_ORDER.get(name, len(_ORDER)), name),
    )
    rows = [
        _row(
            name,
            by_scheme.get(name),
            by_place,
            tuple(sorted((f for f in relevant if f.scheme == name), key=lambda f: f.host or "")),
            objective,
            metric,
            tuple(hosts),
        )
        for name in names
    ]
    rows.sort(key=_rank)
    winner = next((row for row in rows if row.status is Status.FEASIBLE), None)
    return Verdict(
        scope=scope,
        hosts=tuple(hosts),
        winner=winner.candidate if winner else None,
        rows=tuple(_explained(row, winner) for row in rows),
    )


def _row(
    scheme: str,
    candidate: Candidate | None,
    by_place: Mapping[tuple[str, str], Measurement],
    failures: tuple[Failure, ...],
    objective: Objective,
    metric: Metric,
    hosts: tuple[str, ...],
) -> Row:
    measured = tuple(by_place[scheme, host] for host in hosts if (scheme, host) in by_place)
    scores = []
    for measurement in measured:
        baseline = by_place.get((BASELINE, measurement.host))
        if baseline is not None:
            terms = terms_of(figures_of(measurement, metric), figures_of(baseline, metric), objective, metric)
            scores.append(Score(host=measurement.host, total=total_of(terms), terms=terms))
    complete = len(measured) == len(hosts) and not failures
    reason = "" if complete else _why_failed(failures, measured, hosts)
    status = Status.FEASIBLE if complete else Status.FAILED
    if complete and len(scores) < len(hosts):
        status, reason = Status.FAILED, "has no L: the float32 baseline was not measured on every host"
    elif complete:
        broken = _broken_limits(measured, by_place, objective.limits, metric)
        status, reason = (Status.REJECTED, broken) if broken else (status, reason)
    total = sum(score.total for score in scores) / len(hosts) if status is not Status.FAILED else None
    return Row(
        scheme=scheme,
        status=status,
        reason=reason,
        candidate=candidate,
        total=total,
        scores=tuple(scores),
        measurements=measured,
        failures=failures,
    )


def _why_failed(
    failures: tuple[Failure, ...], measured: tuple[Measurement, ...], hosts: tuple[str, ...]
) -> str:
    if not failures:
        missing = [host for host in hosts if host not in {m.host for m in measured}]
        return f"not measured on {', '.join(missing)}"
    reasons: dict[str, list[str]] = {}
    for failure in failures:
        places = reasons.setdefault(failure.reason, [])
        if failure.host is not None:
            places.append(failure.host)
    return "; ".join(
        reason + (f" (on {', '.join(places)})" if places else "") for reason, places in reasons.items()
    )


def _broken_limits(
    measured: tuple[Measurement, ...],
    by_place: Mapping[tuple[str, str], Measurement],
    limits: Limits,
    metric: Metric,
) -> str:
    """Return the broken limits in words, empty where all are kept; the worst host is named."""
    broken = []
    for name, limit, unit, values in (
        ("size", limits.size_bytes, " bytes", [(float(m.size_bytes), m.host) for m in measured]),
        ("latency", limits.latency_ms, " ms", [(m.latency_ms, m.host) for m in measured]),
        ("memory", limits.memory_bytes, " bytes", [(float(m.peak_memory_bytes), m.host) for m in measured]),
        ("the loss of " + metric.name, limits.accuracy_drop, "", _drops(measured, by_place, metric)),
    ):
        value, host = max(values)
        if limit is not None and value > limit:
            broken.append(f"{name} {value:.4g}{unit} on {host}, limit {limit:.4g}{unit}")
    return "; ".join(broken)


def _drops(
    measured: tuple[Measurement, ...], by_place: Mapping[tuple[str, str], Measurement], metric: Metric
) -> list[tuple[float, str]]:
    drops = []
    for measurement in measured:
        value = measurement.metric(metric.name)
        baseline = by_place[BASELINE, measurement.host].metric(metric.name)
        drop = baseline - value if metric.higher_is_better else relative_change(value, baseline)
        drops.append((drop, measurement.host))
    return drops


def _rank(row: Row) -> tuple[int, float, int, int]:
    group = (Status.FEASIBLE, Status.REJECTED, Status.FAILED).index(row.status)
    size = row.candidate.size_bytes if row.candidate else 0
    return (group, row.total if row.total is not None else 0.0, size, _ORDER.get(row.scheme, len(_ORDER)))


def _explained(row: Row, winner: Row | None) -> Row:
    """Say why a feasible row lost; the others say it already."""
    if winner is None or row is winner or row.status is not Status.FEASIBLE:
        return row
    reason = f"L {row.total:+.2f} against {winner.total:+.2f}"
    ours, theirs = _mean_deltas(row), _mean_deltas(winner)
    worse = sorted(((ours[name] - theirs.get(name, 0.0), name) for name in ours), reverse=True)
    words = [
        f"{name} {_signed(ours[name])} against {_signed(theirs.get(name, 0.0))}"
        for gap, name in worse[:2]
        if gap > 0.005
    ]
    if words:
        reason += ": " + ", ".join(words)
    elif row.total == winner.total:
        reason += ": a tie, and the winner is smaller or simpler"
    return Row(
        scheme=row.scheme,
        status=row.status,
        reason=reason,
        candidate=row.candidate,
        total=row.total,
        scores=row.scores,
        measurements=row.measurements,
        failures=row.failures,
    )


def _mean_deltas(row: Row) -> dict[str, float]:
    sums: dict[str, float] = {}
    for score in row.scores:
        for term in score.terms:
            sums[term.name] = sums.get(term.name, 0.0) + term.weight * term.delta / len(row.scores)
    return sums


def _signed(change: float) -> str:
    return f"{100 * change:+.0f} %"
