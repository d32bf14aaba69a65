"""The memory of the devices' journals: at the end of each contact the head is noted, so that lines that go missing are told later.

Invariant: a journal that is not as it was noted is told at every contact, and its new head is noted only where a person accepts it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ota.core.journal_head import JournalState, NotedHead, rewritten
from ota.errors import HostError
from ota.remote.device import Device


class NotedHeads(Protocol):
    """Where it is kept how far the devices' journals are known."""

    def get(self, host: str, root: str) -> NotedHead | None:
        """Return what was noted last, None where nothing was."""
        ...

    def put(self, host: str, root: str, noted: NotedHead) -> None:
        """Note a head; a head that was noted is replaced only by whoever has compared."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalMemory:
    """What is known of the devices' journals; `now` tells the time, UTC, ISO 8601; with `accept` a person takes them as they are."""

    heads: NotedHeads
    now: Callable[[], str]
    accept: bool = False

    def lines(self, device: Device) -> int:
        """Return how many lines of a device's journal were known at the last contact, 0 where it was never met."""
        noted = self.heads.get(device.host.name, device.root)
        return 0 if noted is None else noted.lines

    def compare(self, device: Device, journal: JournalState) -> str:
        """Return what became of the noted lines, empty where they are as they were or that is accepted; the head is noted then.

        `journal` was asked for with `lines`. A broken chain is no head to note.
        """
        name, root = device.host.name, device.root
        noted = self.heads.get(name, root)
        fault = "" if self.accept else rewritten(noted, journal)
        is_new = noted is None or (noted.lines, noted.head) != (journal.lines, journal.head)
        if not fault and journal.broken is None and is_new:
            self.heads.put(name, root, NotedHead(lines=journal.lines, head=journal.head, at=self.now()))
        return fault

    def leave(
        self, device: Device, tell: Callable[[str, str], None], journal: JournalState | None = None
    ) -> None:
        """Compare and note a journal when its device is left, `journal` where it was asked for already; `tell` is given the host and what is wrong.

        What the device does not answer then, its job has told already.
        """
        with suppress(HostError):
            fault = self.compare(device, journal or device.journal(self.lines(device)))
            if fault:
                tell(device.host.name, f"{fault}; ota verify --accept-journals takes it as it is")
