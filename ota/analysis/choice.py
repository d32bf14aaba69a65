"""For each scheme and device class the setting that it would run under, and how the scheme stands there: limits, L, completeness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ota.analysis.contrast import Level, beaten, combined
from ota.analysis.distributions import Floats
from ota.analysis.estimate import HostEstimates
from ota.analysis.limits import Judgement, judge
from ota.core.device_class import DeviceClass
from ota.core.measurement import Contender
from ota.core.metric import Metric
from ota.core.objective import Limits
from ota.core.setting import Setting
from ota.core.verdict import ContenderEstimate, Status

_ORDER = (Status.FEASIBLE, Status.UNDECIDED, Status.REJECTED, Status.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassData:
    """A device class with the estimates of its measured hosts."""

    device_class: DeviceClass
    hosts: tuple[HostEstimates, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A scheme under one setting on a class: its contender's places in the hosts' arrays, its mean L there and the resamples of that."""

    setting: Setting
    places: tuple[int, ...]
    estimates: tuple[ContenderEstimate, ...]
    judgement: Judgement
    complete: bool
    total: float
    draws: Floats


def choices(scheme: str, data: ClassData, limits: Limits, metric: Metric) -> list[Choice]:
    """Return the scheme under every setting that was measured, without failure and with an L, on all measured hosts of the class."""
    if not data.hosts:
        return []
    first = data.hosts[0]
    found = []
    for contender in first.evidence.contenders:
        if contender.scheme == scheme:
            choice = _choice(contender, data, limits, metric)
            if choice is not None:
                found.append(choice)
    return found


def _choice(contender: Contender, data: ClassData, limits: Limits, metric: Metric) -> Choice | None:
    places = []
    for host in data.hosts:
        place = host.places.get(contender)
        if place is None or contender in host.evidence.failures or not host.estimates[place].terms:
            return None
        places.append(place)
    estimates = tuple(host.estimates[place] for host, place in zip(data.hosts, places, strict=True))
    judged = [
        judge(estimate, int(host.evidence.sizes[place]), limits, metric)
        for host, place, estimate in zip(data.hosts, places, estimates, strict=True)
    ]
    return Choice(
        setting=contender.setting,
        places=tuple(places),
        estimates=estimates,
        judgement=worst(judged),
        complete=all(estimate.complete for estimate in estimates),
        total=float(np.mean([h.points.total[p] for h, p in zip(data.hosts, places, strict=True)])),
        draws=np.mean([h.totals[:, p] for h, p in zip(data.hosts, places, strict=True)], axis=0),
    )


def worst(judged: Sequence[Judgement]) -> Judgement:
    """Return the worst status with the distinct reasons of those that have it."""
    status = max((j.status for j in judged), key=_ORDER.index)
    reasons = dict.fromkeys(j.reason for j in judged if j.status is status and j.reason)
    return Judgement(status=status, reason="; ".join(reasons))


def best_choice(found: Sequence[Choice], data: ClassData, spending: Level) -> Choice | None:
    """Return the choice for the class: limits first, complete before incomplete, then the least mean L; of those not apart from it fewer threads, then the earlier runtime."""
    if not found:
        return None

    def group(choice: Choice) -> tuple[bool, bool, int]:
        status = choice.judgement.status
        return (status is Status.REJECTED, not choice.complete, _ORDER.index(status))

    top = min(group(choice) for choice in found)
    rivals = sorted((c for c in found if group(c) == top), key=lambda c: (c.total, c.setting))
    contrasts = combined(
        [host.contrasts.take([c.places[at] for c in rivals]) for at, host in enumerate(data.hosts)],
        [1 / len(data.hosts)] * len(data.hosts),
    )
    lost = beaten(contrasts, spending)[:, 0]
    runtimes = data.hosts[0].evidence.log.runtimes
    places = {name: place for place, name in enumerate(runtimes)}
    even = [c for place, c in enumerate(rivals) if not lost[place]]
    return min(
        even,
        key=lambda c: (c.setting.threads, places.get(c.setting.runtime, len(places)), c.total, c.setting),
    )
