"""The decision for one scope, from the raw sample log alone: the same input gives the same bits.

Limits come first. A winner is named only where its L is apart from that of every other candidate that keeps them (the race's test at the level left after the
blocks that were measured; directly, or through one that is apart from the other in turn). That names one of two equal candidates in at most 5 % of
sessions, and of more than two in no more (Gutmann & Maymin 1987, Annals of Statistics 15: testing the best against the second is enough). Otherwise those that are
not apart are a tie, of which the smallest and then the simplest is proposed. What did not run on every evaluation sample is never proposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ota.analysis.choice import ClassData, choices
from ota.analysis.disagreement import disagreements
from ota.analysis.distributions import rounded
from ota.analysis.estimate import HostEstimates, host_estimates
from ota.analysis.evidence import Question
from ota.analysis.latency import baseline_of, valid_blocks
from ota.analysis.outcome import outcome_of, place_of
from ota.analysis.pareto import dominated_by
from ota.analysis.race import RaceRules
from ota.analysis.rows import Ranked, explained, ranked_rows
from ota.analysis.stability import stability_of
from ota.core.device_class import DeviceClass
from ota.core.measurement import Contender, Failure
from ota.core.metric import metric_named
from ota.core.objective import Objective
from ota.core.samples import HostLog, HostScores, SampleLog
from ota.core.scheme import BASELINE
from ota.core.setting import Setting
from ota.core.verdict import Regret, Row, Stability, Status, Verdict


def decide(
    log: SampleLog,
    scores: Mapping[str, Sequence[HostScores]],
    failures: Sequence[Failure],
    objective: Objective,
    *,
    scope: str,
    hosts: Sequence[str],
    seed: int,
    rules: RaceRules | None = None,
) -> Verdict:
    """Return the verdict over `hosts`, the hosts of the scope; `scores` by host name.

    A device class counts by its measured hosts in the scope, or by all its measured hosts where none of them is in the scope.
    """
    rules = rules or RaceRules()
    metric = metric_named(log.metric)
    within = _in_scope(log, frozenset(hosts))
    question = Question(
        objective=objective,
        metric=metric,
        sizes={c.digest: c.size_bytes for c in log.candidates},
        samples=log.samples,
    )
    classes, troubles = _class_data(log, scores, question, within, rules, seed)
    measured = {name for device_class in within for name in (*device_class.hosts, *device_class.measured)}
    relevant = [f for f in failures if f.host is None or f.host in measured]
    complete = classes if all(data.hosts for data in classes) else []
    ranked = _with_front(
        ranked_rows(log.candidates, relevant, complete, objective.limits, metric, rules.spending)
    )
    outcome = outcome_of(ranked, complete, rules, troubles)
    if outcome.proposed is not None:
        ranked = explained(ranked, outcome.proposed, outcome.tied)
    ranked.sort(key=place_of)
    estimates = tuple(e for data in classes for host in data.hosts for e in host.estimates)
    return Verdict(
        scope=scope,
        hosts=tuple(hosts),
        classes=within,
        answer=outcome.answer,
        winner=outcome.proposed.row.candidate if outcome.proposed else None,
        settings=_settings(outcome.proposed, complete, tuple(hosts)),
        tied=outcome.tied,
        cause=outcome.cause,
        rows=tuple(r.row for r in ranked),
        estimates=estimates,
        stability=_stability(ranked, outcome.proposed, objective, seed),
        regrets=_regrets(ranked, outcome.proposed, complete, question),
        warnings=(*_warnings(ranked, outcome.proposed, classes), *disagreements(complete)),
    )


def unfinished(verdict: Verdict) -> tuple[tuple[str, Contender], ...]:
    """Return the (host, contender) that must still run on every evaluation sample for the verdict to stand, hosts in order.

    Those are the incomplete ones that may yet come first: without a failure, breaking no limit, and with an L whose interval reaches
    below the upper end of the least L of a feasible, complete scheme; all of them where there is none.
    """
    best = min(
        (
            row.total.high
            for row in verdict.rows
            if row.status is Status.FEASIBLE and row.total and _complete(row)
        ),
        default=float("inf"),
    )
    rejected = {row.scheme for row in verdict.rows if row.status is Status.REJECTED}
    hosts = {estimate.host: None for estimate in verdict.estimates}
    reach = {
        (e.host, e.contender.scheme): min(
            x.total.low
            for x in verdict.estimates
            if x.host == e.host and x.contender.scheme == e.contender.scheme
        )
        for e in verdict.estimates
    }
    open_ = []
    for estimate in verdict.estimates:
        scheme = estimate.contender.scheme
        if estimate.complete or scheme in rejected:
            continue
        others = sum(reach.get((host, scheme), 0.0) for host in hosts if host != estimate.host)
        if (others + estimate.total.low) / len(hosts) <= best:
            open_.append((estimate.host, estimate.contender))
    return tuple(open_)


def _complete(row: Row) -> bool:
    return bool(row.estimates) and all(estimate.complete for estimate in row.estimates)


def _in_scope(log: SampleLog, hosts: frozenset[str]) -> tuple[DeviceClass, ...]:
    """Return the classes that have a host in the scope, each with the measured hosts that it counts by."""
    found = []
    for device_class in log.classes:
        if hosts.isdisjoint(device_class.hosts):
            continue
        inside = tuple(name for name in device_class.measured if name in hosts)
        found.append(replace(device_class, measured=inside or device_class.measured))
    return tuple(found)


def _class_data(
    log: SampleLog,
    scores: Mapping[str, Sequence[HostScores]],
    question: Question,
    within: Sequence[DeviceClass],
    rules: RaceRules,
    seed: int,
) -> tuple[list[ClassData], list[str]]:
    """Return the classes with the estimates of their hosts, and what makes the measurements unreliable."""
    logs = {host.host: host for host in log.hosts}
    classes, troubles = [], []
    for device_class in within:
        found: list[HostEstimates] = []
        held = [logs[name] for name in device_class.measured if name in logs]
        for host in held:
            troubles += _troubles(host, rules)
            baseline = baseline_of(host)
            if baseline is not None:
                own = scores.get(host.host, ())
                found.append(host_estimates(host, own, question, baseline=baseline, seed=seed))
        if not held:
            troubles.append(f"{device_class.name}: no host of it was measured")
        classes.append(ClassData(device_class=device_class, hosts=tuple(found)))
    return classes, troubles


def _troubles(host: HostLog, rules: RaceRules) -> list[str]:
    blocks = len(valid_blocks(host))
    if host.unreliable:
        return [f"{host.host}: {host.unreliable}"]
    if blocks < rules.first_look:
        return [f"{host.host}: {blocks} valid blocks, at least {rules.first_look} are needed"]
    return []


def _with_front(ranked: list[Ranked]) -> list[Ranked]:
    """Note who dominates whom; only what keeps the limits can dominate."""
    able = [r for r in ranked if r.can_win and r.axes is not None]
    found = dominated_by([r.axes for r in able if r.axes is not None])
    names = {id(r): able[by].row.scheme for r, by in zip(able, found, strict=True) if by is not None}
    return [replace(r, row=replace(r.row, dominated_by=names.get(id(r), ""))) for r in ranked]


def _settings(
    proposed: Ranked | None, classes: Sequence[ClassData], hosts: tuple[str, ...]
) -> tuple[tuple[str, Setting], ...]:
    if proposed is None:
        return ()
    by_host = {
        name: choice.setting
        for data, choice in zip(classes, proposed.choices, strict=True)
        for name in data.device_class.hosts
    }
    return tuple((name, by_host[name]) for name in hosts if name in by_host)


def _stability(
    ranked: Sequence[Ranked], proposed: Ranked | None, objective: Objective, seed: int
) -> Stability | None:
    able = [r for r in ranked if r.can_win and r.draws is not None and r.deltas is not None]
    names = [r.row.scheme for r in able]
    if proposed is None:
        return None
    weights = objective.weights
    return stability_of(
        names,
        [r.draws for r in able if r.draws is not None],
        [r.deltas for r in able if r.deltas is not None],
        (weights.size, weights.latency, weights.accuracy, weights.transfer),
        proposed=names.index(proposed.row.scheme),
        seed=seed,
    )


def _regrets(
    ranked: Sequence[Ranked], proposed: Ranked | None, classes: Sequence[ClassData], question: Question
) -> tuple[Regret, ...]:
    """Return what the proposed costs each class against the best that keeps the limits there."""
    if proposed is None:
        return ()
    regrets = []
    limits, metric = question.objective.limits, question.metric
    for at, data in enumerate(classes):
        own = proposed.choices[at].total
        best, name = own, proposed.row.scheme
        for r in ranked:
            for choice in choices(r.row.scheme, data, limits, metric):
                fit = choice.complete and choice.judgement.status is Status.FEASIBLE
                if fit and choice.total < best and r.row.scheme != proposed.row.scheme:
                    best, name = choice.total, r.row.scheme
        regrets.append(Regret(device_class=data.device_class.name, best=name, regret=rounded(own - best)))
    return tuple(regrets)


def _warnings(
    ranked: Sequence[Ranked], proposed: Ranked | None, classes: Sequence[ClassData]
) -> tuple[str, ...]:
    words = []
    for data in classes:
        counted = {host.host for host in data.hosts}
        words += [
            f"{name} does not count: it was not measured, or its {BASELINE} baseline was not"
            for name in data.device_class.measured
            if name not in counted
        ]
    if proposed is None or proposed.row.total is None:
        return tuple(words)
    for r in ranked:
        total, open_ = r.row.total, r.row.status in (Status.FEASIBLE, Status.UNDECIDED) and not r.can_win
        if open_ and total is not None and total.value < proposed.row.total.value:
            words.append(f"{r.row.scheme} might be better, L {total.value:+.2f}, but: {r.row.reason}")
    return tuple(words)
