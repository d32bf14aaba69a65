"""What a device is asked with and what it answers, as values: what a transfer cost, what was read back, how a command ended."""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.release import Digest
from ota.core.wire import Encoding
from ota.remote.dialogue import Fields, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What bringing a file to a device cost: bytes on the wire and seconds until the device had it durably; none where it was there.

    `form` is the encoding that it came in, None where it came as it is.
    """

    bytes_sent: int
    seconds: float
    form: Encoding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Of the files that were asked for, those that a device has whole; and the files, or encodings of files, whose transfer to it was cut."""

    whole: frozenset[Digest]
    begun: frozenset[Digest]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What `current` is, read from the device now; `changed` says whether the request moved it."""

    current: str | None
    digest: Digest | None
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a shell command ended on the device, with the end of its output; exit code 124: its time was up."""

    exit_code: int
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BootHook:
    """A boot hook on the device: its kind, `none` where there is none, and its name there."""

    kind: str
    name: str
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """How long an activation may go unconfirmed, and the commands that the device runs when it went back by itself."""

    seconds: float
    after: tuple[str, ...] = ()
    command_timeout_s: float = 60.0

    @property
    def fields(self) -> Fields:
        """The lease as a request has it."""
        after: list[Json] = [
            {"command": command, "timeout_s": self.command_timeout_s} for command in self.after
        ]
        return {"lease_s": self.seconds, "after": after}
