"""Everything that may go wrong and be shown: one tree, fields rather than strings, one rendering, an exit code per class.

Invariants: a class has one exit code and an exit code one meaning; a message says where, what was expected, what was
found and what to do next; no secret enters a field.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a finished `ota` command tells the shell; documented in README.md."""

    DONE = 0
    HOST_FAILED = 2
    NO_FEASIBLE_CANDIDATE = 3
    HOSTS_UNREACHABLE = 4
    UNRELIABLE = 5
    USAGE = 64
    CONTENT = 65
    MISSING = 66
    INTERNAL = 70
    INTERRUPTED = 130


class OtaError(Exception):
    """A fault that a person can act on.

    Args:
        problem: what is wrong, one clause without a full stop.
        where: file:line:column, a host's name or another place; empty where there is none.
        expected: what would have been right.
        found: what was there instead.
        hint: what to do next, as a command or an instruction.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(
        self, problem: str, *, where: str = "", expected: str = "", found: str = "", hint: str = ""
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = where
        self.expected = expected
        self.found = found
        self.hint = hint

    def render(self) -> str:
        """Return the message: `where: problem: expected ..., found ...` and the hint on a line of its own."""
        head = f"{self.where}: {self._what()}" if self.where else self._what()
        return f"{head}\n  {self.hint}" if self.hint else head

    @property
    def reason(self) -> str:
        """The message on one line and without the place, for where that stands beside it."""
        return f"{self._what()}; {self.hint}" if self.hint else self._what()

    def _what(self) -> str:
        words = (("expected", self.expected), ("found", self.found))
        details = ", ".join(f"{word} {value}" for word, value in words if value)
        return f"{self.problem}: {details}" if details else self.problem

    def __str__(self) -> str:
        return self.render()

    def __reduce__(self) -> tuple[object, ...]:
        """Cross a process border with all fields."""
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(kind: type[OtaError], fields: dict[str, object]) -> OtaError:
    error = kind.__new__(kind)
    error.__dict__.update(fields)
    error.args = (fields.get("problem", ""),)
    return error


class UsageError(OtaError):
    """The command line asks for something that cannot be: an option, a pattern that matches no host, a missing tool."""

    exit_code = ExitCode.USAGE


class MissingFileError(OtaError):
    """A file or folder that was named does not exist or cannot be read."""

    exit_code = ExitCode.MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a file; line and column count from 1, 0 where unknown."""

    file: str
    problem: str
    line: int = 0
    column: int = 0
    hint: str = ""

    def render(self) -> str:
        """Return `file:line:column: problem (hint)`."""
        place = self.file + "".join(f":{n}" for n in (self.line, self.column) if n)
        return f"{place}: {self.problem}" + (f" ({self.hint})" if self.hint else "")


class ContentError(OtaError):
    """What a file says is wrong; carries every fault found, not just the first."""

    exit_code = ExitCode.CONTENT

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults[0].problem if faults else "the content is wrong")
        self.faults = faults

    def render(self) -> str:
        """Return one line for each fault."""
        return "\n".join(fault.render() for fault in self.faults)


class HostError(OtaError):
    """A host could be reached, and something on it failed; `where` is the host's name."""

    exit_code = ExitCode.HOST_FAILED


class CommandEndedError(HostError):
    """A command on a host ended before it answered; `exit_code_of_command` is None where it is not known."""

    def __init__(self, problem: str, *, where: str, exit_code_of_command: int | None, hint: str = "") -> None:
        super().__init__(problem, where=where, hint=hint)
        self.exit_code_of_command = exit_code_of_command


class GateError(HostError):
    """A release's model did not pass the gate on a host: the fault is the release's, not the host's."""


class UnreachableError(HostError):
    """A host could not be reached, refused us, or went silent; nothing is known to have failed on it."""

    exit_code = ExitCode.HOSTS_UNREACHABLE


class HostKeyError(UnreachableError):
    """A host's key is unknown or has changed, so nothing was said to it."""


class NoFeasibleCandidateError(OtaError):
    """No candidate loads on every measured host and meets the limits."""

    exit_code = ExitCode.NO_FEASIBLE_CANDIDATE


class UnreliableError(OtaError):
    """The measurements of a selection cannot be trusted."""

    exit_code = ExitCode.UNRELIABLE


class InterruptedRunError(OtaError):
    """A person stopped the run; devices are as they were or finished."""

    exit_code = ExitCode.INTERRUPTED
