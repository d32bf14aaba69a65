"""Which contenders break a limit on a host, which keep all, and which the data cannot tell, with what would tell it.

A file's size and the memory of its process are exact. A latency keeps its limit where its whole 95 % interval does. A loss of accuracy keeps it
with one-sided 95 % confidence (`accuracy.drop_bound`), and breaks it with the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from ota.analysis.accuracy import MOST_SAMPLES
from ota.core.metric import Metric
from ota.core.objective import Limits
from ota.core.verdict import ContenderEstimate, Quality, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """FEASIBLE, REJECTED or UNDECIDED on one host, and the reason, empty where it is feasible."""

    status: Status
    reason: str = ""


def judge(estimate: ContenderEstimate, size_bytes: int, limits: Limits, metric: Metric) -> Judgement:
    """Return how a contender stands to the limits on its host: what is broken first, then what is not decided."""
    broken, open_ = _exact(estimate, size_bytes, limits)
    for name, found in (
        ("latency", _latency(estimate, limits)),
        ("accuracy", _accuracy(estimate.quality, limits, metric, estimate.host)),
    ):
        if found is not None:
            (broken if found.status is Status.REJECTED else open_).append((name, found.reason))
    if broken:
        return Judgement(status=Status.REJECTED, reason="; ".join(reason for _, reason in broken))
    if open_:
        return Judgement(status=Status.UNDECIDED, reason="; ".join(reason for _, reason in open_))
    return Judgement(status=Status.FEASIBLE)


def _exact(
    estimate: ContenderEstimate, size_bytes: int, limits: Limits
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    broken, open_ = [], []
    if limits.size_bytes is not None and size_bytes > limits.size_bytes:
        broken.append(("size", f"size {size_bytes} bytes, limit {limits.size_bytes} bytes"))
    if limits.memory_bytes is not None:
        memory = estimate.memory_bytes
        if memory is None:
            open_.append(("memory", f"memory on {estimate.host} was not examined"))
        elif memory > limits.memory_bytes:
            broken.append(
                ("memory", f"memory {memory} bytes on {estimate.host}, limit {limits.memory_bytes} bytes")
            )
    return broken, open_


def _latency(estimate: ContenderEstimate, limits: Limits) -> Judgement | None:
    limit, latency = limits.latency_ms, estimate.latency_ms
    if limit is None or latency.high <= limit:
        return None
    words = (
        f"latency {latency.value:.4g} ms ({latency.low:.4g} to {latency.high:.4g}) on {estimate.host}, "
        f"limit {limit:.4g} ms"
    )
    if latency.low > limit:
        return Judgement(status=Status.REJECTED, reason=words)
    return Judgement(status=Status.UNDECIDED, reason=f"{words}: needs more blocks to decide")


def _accuracy(quality: Quality, limits: Limits, metric: Metric, host: str) -> Judgement | None:
    limit = limits.accuracy_drop
    if limit is None or quality.drop_bound <= limit:
        return None
    words = f"the loss of {metric.name} {quality.drop:.4g} on {host}, limit {limit:.4g}"
    if quality.drop_lower > limit:
        return Judgement(status=Status.REJECTED, reason=words)
    bound = f"{words}: with 95 % confidence only known to be at most {quality.drop_bound:.4g}"
    if quality.needed >= MOST_SAMPLES:
        more = "what was found lies on the limit, more samples will not decide it"
    elif quality.needed:
        more = f"needs {quality.needed} more samples"
    else:
        more = "needs more samples"
    return Judgement(status=Status.UNDECIDED, reason=f"{bound}; {more}")
