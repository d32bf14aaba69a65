"""Values by host, for fleets of any size: immutable to whoever holds one, and one more costs the same however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class _OfHost(Protocol):
    @property
    def host(self) -> str: ...


V = TypeVar("V", bound=_OfHost)


class ByHost(Generic[V]):
    """At most one value a host, in the order in which they came.

    Those that grew out of one another share their memory: each sees its own beginning of it. `adding` to the newest appends, to an older one copies.
    From one thread at a time.
    """

    __slots__ = ("_count", "_places", "_shared")

    def __init__(self, values: Iterable[V] = ()) -> None:
        self._shared = list(values)
        self._places = {value.host: place for place, value in enumerate(self._shared)}
        self._count = len(self._shared)
        if len(self._places) != self._count:
            raise ValueError("two values of one host")

    def get(self, host: str) -> V | None:
        """Return the value of a host, None where there is none."""
        place = self._places.get(host, self._count)
        return self._shared[place] if place < self._count else None

    def adding(self, value: V) -> ByHost[V]:
        """Return these and one more; ValueError where its host has one."""
        if value.host in self:
            raise ValueError(f"{value.host} has a value")
        if self._count != len(self._shared):
            return ByHost((*self, value))
        more: ByHost[V] = ByHost.__new__(ByHost)
        self._places[value.host] = self._count
        self._shared.append(value)
        more._shared, more._places, more._count = self._shared, self._places, self._count + 1
        return more

    def __contains__(self, host: object) -> bool:
        return isinstance(host, str) and self.get(host) is not None

    def __iter__(self) -> Iterator[V]:
        return (self._shared[place] for place in range(self._count))

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByHost) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"ByHost({tuple(self)!r})"
