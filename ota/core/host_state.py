"""How far one host has come in a rollout, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ota.core.release import Digest


class HostState(Enum):
    """The states of a host in a rollout, in order; the ends after CONFIRMED are without the new release.

    UNKNOWN: it was to return to its earlier release and is out of reach, so that nobody knows which of the two it runs.
    """

    PENDING = "pending"
    STAGED = "staged"
    ACTIVE = "active"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    UNREACHABLE = "unreachable"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOutcome:
    """How one host ended. `digest` was read back from the device behind `current`; `reason` says why it failed, was skipped or went back.

    `release` is what the host should run from now on: the new release where it is confirmed or the host is out of reach, the earlier one where it is unknown,
    what it has where it failed before the activation or went back, None where that is nothing or not known. `previous` was current before. `bytes_sent` are bytes
    of the release's own files. `steps_ok` and `steps_changed` count for the recap. `gate_failed`: the release's model
    did not pass the gate there, which stops the rollout.
    """

    host: str
    state: HostState
    release: str | None
    previous: str | None
    changed: bool
    bytes_sent: int
    digest: Digest | None
    reason: str = ""
    steps_ok: int = 0
    steps_changed: int = 0
    gate_failed: bool = False
