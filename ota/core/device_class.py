"""Hosts with equal facts form a device class: what is measured on one of them holds for all.

Equal are the facts that decide how a network runs: processor, number of them, memory (to the nearest 5 %: kernels reserve different amounts), system, C library, Python
and the runtimes. The state of a moment, such as free memory, does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

from ota.core.facts import Facts

_MEMORY_STEP = log(1.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceClass:
    """Hosts with equal facts; `measured` are those of them that were measured, `name` says in a few words what they are."""

    name: str
    hosts: tuple[str, ...]
    measured: tuple[str, ...]


def device_classes(
    hosts: Sequence[tuple[str, Facts, tuple[str, ...]]], *, measure: Iterable[str], per_class: int
) -> tuple[DeviceClass, ...]:
    """Return the classes of (host name, facts, runtime labels in order), in the order of their first hosts.

    Of each class the first `per_class` hosts that are in `measure` are to be measured.
    """
    members: dict[tuple[object, ...], list[str]] = {}
    facts_of = {name: (facts, runtimes) for name, facts, runtimes in hosts}
    for name, facts, runtimes in hosts:
        members.setdefault(_key(facts, runtimes), []).append(name)
    wanted = frozenset(measure)
    names = _names([facts_of[group[0]] for group in members.values()])
    return tuple(
        DeviceClass(
            name=label,
            hosts=tuple(group),
            measured=tuple([name for name in group if name in wanted][:per_class]),
        )
        for label, group in zip(names, members.values(), strict=True)
    )


def _key(facts: Facts, runtimes: tuple[str, ...]) -> tuple[object, ...]:
    return (
        facts.architecture,
        facts.python_bits,
        facts.cpu_model,
        facts.cpu_count,
        round(log(max(1, facts.memory_total_bytes)) / _MEMORY_STEP),
        facts.os,
        facts.kernel,
        facts.libc,
        facts.python[:2],
        runtimes,
    )


def _names(groups: Sequence[tuple[Facts, tuple[str, ...]]]) -> list[str]:
    """Return a name for each class: the board, and what tells it from others with the same one."""
    boards = [facts.cpu_model or facts.architecture for facts, _ in groups]
    twice = Counter(boards)
    names = [
        board
        if twice[board] == 1
        else f"{board}, Python {facts.python[0]}.{facts.python[1]}, {' and '.join(runtimes)}"
        for board, (facts, runtimes) in zip(boards, groups, strict=True)
    ]
    again = Counter(names)
    seen: Counter[str] = Counter()
    for index, name in enumerate(names):
        if again[name] > 1:
            seen[name] += 1
            names[index] = f"{name}, class {seen[name]}"
    return names
