"""Do the measured devices of a class agree? They have equal facts, so they should; a weak supply or a hot case shows here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from ota.analysis.choice import ClassData
from ota.analysis.estimate import HostEstimates
from ota.core.measurement import Contender

_MATERIAL = 0.05
"""Ratios whose intervals lie less than 5 % apart are not worth a warning."""
_SURE = 0.975


def disagreements(classes: Sequence[ClassData]) -> tuple[str, ...]:
    """Return a sentence for each two devices of a class whose best contender differs beyond doubt, or whose latency ratios do."""
    found = []
    for data in classes:
        for one, other in combinations(data.hosts, 2):
            where = f"{one.host} and {other.host}, both {data.device_class.name}, disagree"
            best = _best_differs(one, other)
            words = [best] if best else list(_ratios_differ(one, other))[:1]
            found += [f"{where}: {word}" for word in words]
    return tuple(found)


def _shared(one: HostEstimates, other: HostEstimates) -> list[Contender]:
    theirs = other.places
    return [c for c in one.evidence.contenders if c in theirs and one.estimates[one.places[c]].terms]


def _best_differs(one: HostEstimates, other: HostEstimates) -> str:
    shared = _shared(one, other)
    if len(shared) < 2:
        return ""
    first, second = (
        min(shared, key=lambda c, h=host: (h.points.total[h.places[c]], c))  # type: ignore[misc]
        for host in (one, other)
    )
    if first == second:
        return ""
    for host, best, rest in ((one, first, second), (other, second, first)):
        ahead = host.totals[:, host.places[best]] < host.totals[:, host.places[rest]]
        if float(np.mean(ahead)) < _SURE:
            return ""
    return (
        f"best is {first.scheme} under {first.setting} on {one.host}, "
        f"{second.scheme} under {second.setting} on {other.host}"
    )


def _ratios_differ(one: HostEstimates, other: HostEstimates) -> Iterator[str]:
    for contender in _shared(one, other):
        a, b = one.estimates[one.places[contender]].ratio, other.estimates[other.places[contender]].ratio
        if a.low > b.high * (1 + _MATERIAL) or b.low > a.high * (1 + _MATERIAL):
            yield (
                f"{contender.scheme} under {contender.setting} takes {a.value:.2f} times the baseline's time on {one.host}, "
                f"{b.value:.2f} times on {other.host}"
            )
