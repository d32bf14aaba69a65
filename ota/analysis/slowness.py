"""Why a contender is slower than the baseline: how many of its operators run outside the delegate, which, and under which other runtime they would not."""

from __future__ import annotations

from collections import Counter

from ota.core.measurement import Contender
from ota.core.samples import Examination, HostLog
from ota.core.scheme import BASELINE
from ota.core.verdict import Estimate

_NAMED = 4
"""How many kinds of operators the sentence names."""


def why_slow(log: HostLog, contender: Contender, ratio: Estimate) -> str:
    """Return one sentence where the contender is slower than the baseline beyond its interval and most of its operators run outside the delegate; else ''."""
    if ratio.low <= 1.0 or contender.scheme == BASELINE:
        return ""
    seen = _last(log, contender)
    if seen is None or 2 * len(seen.delegated) >= len(seen.nodes):
        return ""
    taken = frozenset(seen.delegated)
    outside = Counter(name for place, name in enumerate(seen.nodes) if place not in taken)
    kinds = sorted(outside.items(), key=lambda item: (-item[1], item[0]))
    words = ", ".join(f"{name} x{count}" for name, count in kinds[:_NAMED])
    if len(kinds) > _NAMED:
        words += f" and {sum(count for _, count in kinds[_NAMED:])} more"
    return (
        f"{contender.scheme} is slower than {BASELINE} here: {sum(outside.values())} of {len(seen.nodes)} operators run "
        f"outside the delegate under {contender.setting.runtime} ({words}){_elsewhere(log, contender, seen)}"
    )


def _elsewhere(log: HostLog, contender: Contender, seen: Examination) -> str:
    """Name the runtime on this host that takes most of the same file's operators, where it takes more."""
    best: Examination | None = None
    places = {name: place for place, name in enumerate(log.runtimes)}
    for other in sorted(
        log.examinations, key=lambda e: (places.get(e.contender.setting.runtime, len(places)), e.contender)
    ):
        same_file = other.contender.digest == contender.digest
        if (
            same_file
            and other.contender.setting.runtime != contender.setting.runtime
            and len(other.delegated) > len(best.delegated if best else seen.delegated)
        ):
            best = other
    if best is None:
        return ""
    all_ = len(best.delegated) == len(best.nodes)
    share = "them all" if all_ else f"{len(best.delegated)} of {len(best.nodes)}"
    return f"; {best.contender.setting.runtime} takes {share}"


def _last(log: HostLog, contender: Contender) -> Examination | None:
    return next((seen for seen in reversed(log.examinations) if seen.contender == contender), None)
