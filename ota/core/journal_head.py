"""How far a device's journal was known at the last contact, and what became of it since: lines are only added to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalState:
    """A device's journal as it is now.

    Of its `lines` a power cut tore `torn`; `broken` is the first that does not follow the one before, None where all do; `head` is the SHA-256 of the last in hex.
    `earlier` is that of the line that was asked for, empty where the journal is shorter.
    """

    lines: int
    torn: int
    broken: int | None
    head: str
    earlier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedHead:
    """How many lines a journal had at the last contact, the SHA-256 of the last of them in hex, and when it was first seen so: UTC, ISO 8601."""

    lines: int
    head: str
    at: str


def rewritten(noted: NotedHead | None, journal: JournalState) -> str:
    """Return in words what became of the lines that were noted, empty where they are as they were; `journal.earlier` is of line `noted.lines`."""
    if noted is None or journal.earlier == noted.head:
        return ""
    if journal.lines < noted.lines:
        return f"its journal was cut: {noted.lines} lines were noted at {noted.at}, {journal.lines} are there"
    return f"its journal was rewritten: line {noted.lines} is not the one that was noted at {noted.at}"
