"""Several requests in one flight: they go out one behind the other and are answered one behind the other, so that a far device is waited for once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ota.remote.dialogue import SKIPPED, Answer, Dialogue, Outgoing, RefusedError
from ota.remote.requests import Along, Asking

T = TypeVar("T")


class Reply(Generic[T]):
    """The answer to one request of a flight, once it has come."""

    def __init__(self, told: Callable[[T], None]) -> None:
        self._told = told
        self._value: T | None = None
        self.heard = False
        self.refused: RefusedError | None = None

    @property
    def value(self) -> T:
        """What was answered; raises the refusal where it was none."""
        if self.refused is not None:
            raise self.refused
        return self._value  # type: ignore[return-value]  # it was read as a T

    @property
    def skipped(self) -> bool:
        """Whether it was not carried out for one before it was not."""
        return self.refused is not None and self.refused.code == SKIPPED

    def take(self, answer: Answer | RefusedError, read: Callable[[Answer], T]) -> None:
        """Hear the answer, and tell it on."""
        self.heard = True
        if isinstance(answer, RefusedError):
            self.refused = answer
            return
        self._value = read(answer)
        self._told(self._value)


class Flight:
    """Requests that go out together, to the host of that name."""

    def __init__(self, dialogue: Dialogue, host: str) -> None:
        self._dialogue = dialogue
        self._host = host
        self._requests: list[Outgoing] = []
        self._landing: list[Callable[[Answer | RefusedError], None]] = []
        self._to_go: set[int] = set()
        self._out = False

    @property
    def is_out(self) -> bool:
        """Whether the last file has gone out, so that the device may have carried out what stands behind it."""
        return self._out and not self._to_go

    def add(
        self, asking: Asking[T], *, then: bool = True, told: Callable[[T], None] = lambda _: None
    ) -> Reply[T]:
        """Put a request behind the others: with `then` it is carried out only where the one before it was. `told` hears the answer as soon as it comes."""
        reply = Reply(told)
        number = len(self._requests)
        along = None
        if asking.along is not None:
            along = self._pieces(asking.along, number)
            self._to_go.add(number)
        length = 0 if asking.along is None else asking.along.length
        self._requests.append(
            Outgoing(op=asking.op, fields=asking.fields, then=then and number > 0, along=along, length=length)
        )

        def land(answer: Answer | RefusedError) -> None:
            reply.take(answer, lambda one: asking.read(one, self._host))

        self._landing.append(land)
        return reply

    def go(self) -> None:
        """Send all and hear every answer; a refusal is raised by its reply, when that is looked at.

        Raises:
            HostError: an answer is not one.
            UnreachableError: the connection is gone; `is_out` and the replies tell how far things may have gone.
        """
        if not self._requests:
            return
        self._out = True
        self._dialogue.send_off(self._requests)
        for land, answer in zip(self._landing, self._dialogue.answers(self._requests), strict=True):
            land(answer)

    def _pieces(self, along: Along, number: int) -> Callable[[], Iterator[bytes]]:
        def pieces() -> Iterator[bytes]:
            yield from along.pieces()
            self._to_go.discard(number)

        return pieces
