"""Ansible's PLAY RECAP, for people and for the scripts that read it."""

from __future__ import annotations

from collections.abc import Iterable

from ota.core.host_state import HostOutcome, HostState

_FAILED = frozenset((HostState.FAILED, HostState.ROLLED_BACK))
_OUT_OF_REACH = frozenset((HostState.UNREACHABLE, HostState.UNKNOWN))


def recap(outcomes: Iterable[HostOutcome], *, most: int | None = None) -> str:
    """Return the banner and one line a host, sorted; counts are padded to 4 and names to 26, as in Ansible. Hosts of which nobody knows what they run follow.

    Of more than `most` hosts those that are confirmed are counted in one line.
    """
    ends = sorted(outcomes, key=lambda o: o.host)
    told = [end for end in ends if end.state is not HostState.CONFIRMED]
    if most is None or len(ends) <= most or len(told) == len(ends):
        told = ends
    lines = ["PLAY RECAP " + "*" * 69, *map(_line, told)]
    if len(told) < len(ends):
        lines.append(f"{len(ends) - len(told):,} of {len(ends):,} hosts are confirmed")
    lines += [f"UNKNOWN {end.host}: {end.reason}" for end in ends if end.state is HostState.UNKNOWN]
    return "\n".join(lines)


def _line(outcome: HostOutcome) -> str:
    counts = {
        "ok": outcome.steps_ok,
        "changed": outcome.steps_changed,
        "unreachable": int(outcome.state in _OUT_OF_REACH),
        "failed": int(outcome.state in _FAILED),
        "skipped": int(outcome.state is HostState.SKIPPED),
        "rescued": int(outcome.state is HostState.ROLLED_BACK),
        "ignored": 0,
    }
    return (
        f"{outcome.host:<26} : " + " ".join(f"{name}={count!s:<4}" for name, count in counts.items()).rstrip()
    )


def tally(outcomes: Iterable[HostOutcome]) -> str:
    """Return how many hosts ended in which state, such as `2 confirmed, 1 unreachable`."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.state.value] = counts.get(outcome.state.value, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
