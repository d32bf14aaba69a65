"""A scope's table: for each scheme its setting per device class, its status over all of them, and its mean L."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ota.analysis.choice import Choice, ClassData, best_choice, choices, worst
from ota.analysis.contrast import Contrasts, Level, combined
from ota.analysis.distributions import Floats
from ota.analysis.limits import Judgement
from ota.analysis.resampling import interval
from ota.core.measurement import Candidate, Failure
from ota.core.metric import Metric
from ota.core.objective import Limits
from ota.core.scheme import BASELINE, SCHEMES
from ota.core.verdict import Row, Status

ORDER = {scheme.name: place for place, scheme in enumerate(SCHEMES)}
"""From the simplest scheme on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A scheme's row with what it is compared by; `choices` one per class, `draws` the resamples of its mean L, None for a failed row.

    `axes` [resamples, 5] are what the Pareto front looks at: size, log latency ratio, error, memory (NaN where unknown) and transfer.
    """

    row: Row
    choices: tuple[Choice, ...]
    complete: bool
    draws: Floats | None
    deltas: Floats | None
    axes: Floats | None

    @property
    def can_win(self) -> bool:
        """Whether it is feasible and ran on every sample."""
        return self.row.status is Status.FEASIBLE and self.complete


def ranked_rows(
    candidates: Sequence[Candidate],
    failures: Sequence[Failure],
    classes: Sequence[ClassData],
    limits: Limits,
    metric: Metric,
    spending: Level,
) -> list[Ranked]:
    """Return a row for every scheme that has a file or a failure, in the order of SCHEMES."""
    by_scheme = {candidate.scheme: candidate for candidate in candidates}
    names = sorted(
        {*by_scheme, *(failure.scheme for failure in failures)}, key=lambda n: (ORDER.get(n, len(ORDER)), n)
    )
    rows = []
    for name in names:
        own = tuple(sorted((f for f in failures if f.scheme == name), key=lambda f: (f.host or "", f.reason)))
        chosen = [best_choice(choices(name, data, limits, metric), data, spending) for data in classes]
        candidate = by_scheme.get(name)
        if candidate is None or not chosen or any(choice is None for choice in chosen):
            rows.append(_failed(name, candidate, own, classes, chosen))
        else:
            rows.append(_measured(candidate, own, classes, [c for c in chosen if c is not None]))
    return rows


def _failed(
    scheme: str,
    candidate: Candidate | None,
    failures: tuple[Failure, ...],
    classes: Sequence[ClassData],
    chosen: Sequence[Choice | None],
) -> Ranked:
    reasons = _reasons(failures) or _turn_reasons(scheme, classes, chosen)
    row = Row(
        scheme=scheme,
        status=Status.FAILED,
        reason="; ".join(reasons),
        candidate=candidate,
        settings=(),
        total=None,
        estimates=(),
        failures=failures,
    )
    return Ranked(row=row, choices=(), complete=False, draws=None, deltas=None, axes=None)


def _reasons(failures: Sequence[Failure]) -> list[str]:
    places: dict[str, list[str]] = {}
    for failure in failures:
        places.setdefault(failure.reason, []).extend([failure.host] if failure.host else [])
    return [reason + (f" (on {', '.join(hosts)})" if hosts else "") for reason, hosts in places.items()]


def _turn_reasons(scheme: str, classes: Sequence[ClassData], chosen: Sequence[Choice | None]) -> list[str]:
    reasons: dict[str, None] = {}
    for data, choice in zip(classes, chosen, strict=True):
        if choice is not None:
            continue
        failed = {
            f"{why} (on {host.host}, {contender.setting})": None
            for host in data.hosts
            for contender, why in sorted(host.evidence.failures.items())
            if contender.scheme == scheme
        }
        reasons |= failed or {f"not measured under one setting on all of {data.device_class.name}": None}
    return list(reasons) or [f"has no L: the {BASELINE} baseline was not measured on every host"]


def _measured(
    candidate: Candidate, failures: tuple[Failure, ...], classes: Sequence[ClassData], chosen: list[Choice]
) -> Ranked:
    draws = np.mean([choice.draws for choice in chosen], axis=0)
    judgement = worst([choice.judgement for choice in chosen])
    complete = all(choice.complete for choice in chosen)
    row = Row(
        scheme=candidate.scheme,
        status=judgement.status,
        reason=_reason(judgement, chosen, complete=complete),
        candidate=candidate,
        settings=tuple(
            (data.device_class.name, choice.setting) for data, choice in zip(classes, chosen, strict=True)
        ),
        total=interval(float(np.mean([choice.total for choice in chosen])), draws),
        estimates=tuple(estimate for choice in chosen for estimate in choice.estimates),
        failures=failures,
    )
    pairs = [
        (host, place, 1 / (len(classes) * len(data.hosts)))
        for data, choice in zip(classes, chosen, strict=True)
        for host, place in zip(data.hosts, choice.places, strict=True)
    ]
    deltas = np.sum([weight * host.deltas[place] for host, place, weight in pairs], axis=0)
    seconds = [w * (h.seconds[:, p] if h.seconds is not None else np.zeros(len(draws))) for h, p, w in pairs]
    axes = np.stack(
        (
            np.full(len(draws), float(candidate.size_bytes)),
            np.sum([w * h.log_ratios[:, p] for h, p, w in pairs], axis=0),
            np.sum([w * h.errors[:, p] for h, p, w in pairs], axis=0),
            np.full(len(draws), sum(w * h.evidence.memory[p] for h, p, w in pairs)),
            np.sum(seconds, axis=0),
        ),
        axis=1,
    )
    return Ranked(row=row, choices=tuple(chosen), complete=complete, draws=draws, deltas=deltas, axes=axes)


def _reason(judgement: Judgement, chosen: Sequence[Choice], *, complete: bool) -> str:
    reason = judgement.reason
    if complete:
        return reason
    part = min(
        (e for choice in chosen for e in choice.estimates if not e.complete),
        key=lambda e: (e.quality.samples, e.host),
    )
    seen = f"ran on {part.quality.samples} evaluation samples only"
    if part.dropped is None:
        return "; ".join(word for word in (reason, seen) if word)
    left = f"left the race after block {part.dropped} on {part.host}, {seen}"
    if judgement.status is Status.UNDECIDED:
        # How many samples would decide its limits is of no use to anybody: it cannot come first.
        return f"not pursued: {left}"
    return "; ".join(word for word in (reason, left) if word)


def between(ranked: Sequence[Ranked], classes: Sequence[ClassData]) -> Contrasts:
    """Return the contrasts of mean L between rows that have one, each under its chosen settings."""
    parts, weights = [], []
    for at, data in enumerate(classes):
        for number, host in enumerate(data.hosts):
            parts.append(host.contrasts.take([r.choices[at].places[number] for r in ranked]))
            weights.append(1 / (len(classes) * len(data.hosts)))
    return combined(parts, weights)


def explained(ranked: Sequence[Ranked], proposed: Ranked, tied: Sequence[str]) -> list[Ranked]:
    """Return the rows with a reason for each feasible one that is not proposed: L, and the two terms that cost it most."""
    return [
        r
        if r is proposed or r.row.status is not Status.FEASIBLE
        else replace(r, row=replace(r.row, reason=_lost(r, proposed, tied)))
        for r in ranked
    ]


def _lost(ranked: Ranked, proposed: Ranked, tied: Sequence[str]) -> str:
    ours, theirs = _mean_terms(ranked), _mean_terms(proposed)
    total, other = ranked.row.total, proposed.row.total
    words = [f"L {total.value:+.2f} against {other.value:+.2f}"] if total and other else []
    worse = sorted(((ours[name] - theirs.get(name, 0.0), name) for name in ours), reverse=True)
    parts = [
        f"{name} {_signed(ours[name])} against {_signed(theirs.get(name, 0.0))}"
        for gap, name in worse[:2]
        if gap > 0.005
    ]
    if parts:
        words[-1:] = [f"{''.join(words[-1:])}: {', '.join(parts)}"]
    if ranked.row.scheme in tied:
        words.insert(0, "not apart from the proposed one, which is smaller or simpler")
    return "; ".join(word for word in (*words, ranked.row.reason) if word)


def _mean_terms(ranked: Ranked) -> Mapping[str, float]:
    sums: dict[str, float] = {}
    for choice in ranked.choices:
        for estimate in choice.estimates:
            share = 1 / (len(ranked.choices) * len(choice.estimates))
            for term in estimate.terms:
                sums[term.name] = sums.get(term.name, 0.0) + share * term.weight * term.delta
    return sums


def _signed(part: float) -> str:
    return f"{part:+.2f}"
