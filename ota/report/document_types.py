"""The documents that `--json` prints: typed, so that their JSON Schemas in docs/schemas/ are generated from what stands here.

Those of a selection and of scores are in `select_types`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeDocument:
    """How a host ended; `digest` was read back from the device."""

    host: str
    state: str
    release: str | None
    previous: str | None
    changed: bool
    bytes_sent: int
    digest: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPartDocument:
    """One play's rollout: `release` is the one that all confirmed hosts have, null where they differ or there is none."""

    play: str
    kind: str
    check: bool
    selection: str | None
    release: str | None
    stop: str
    hosts: list[OutcomeDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDocument:
    """`ota deploy --json` and `ota rollback --json`."""

    format: int
    rollouts: list[RolloutPartDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDocument:
    """A release on a device."""

    id: str
    digest: str | None
    intact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatusDocument:
    """One host as it was found; `state` is ok, failed or unreachable; `digest` was read back now."""

    host: str
    state: str
    reason: str
    current: str | None
    previous: str | None
    pending: str | None
    expected: str | None
    digest: str | None
    drift: str
    runtime: str | None
    threads: int | None
    runtimes: list[str]
    disk_free_bytes: int | None
    releases: list[HeldDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPartDocument:
    """One play's hosts; `faults` are what `ota verify` found wrong on the controller."""

    play: str
    model: str
    hosts: list[HostStatusDocument]
    faults: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusDocument:
    """`ota status --json`."""

    format: int
    plays: list[StatusPartDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class PingHostDocument:
    """One host; `facts` is null where it did not answer."""

    host: str
    state: str
    reason: str
    facts: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PingDocument:
    """`ota ping --json`."""

    format: int
    hosts: list[PingHostDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionHostDocument:
    """One host of one play; `runtimes` are those proven there, in order of preference, `planned` what check mode would install.

    `warnings` say why a runtime that would run there is left out.
    """

    play: str
    host: str
    state: str
    reason: str
    runtimes: list[str]
    planned: list[str]
    changed: bool
    bytes_sent: int
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictionDocument:
    """The controller's key on one host: its `line` in `file`, and that of sudoers, empty where sudo has no part."""

    host: str
    state: str
    reason: str
    changed: bool
    file: str
    line: str
    sudoers: str
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionDocument:
    """`ota provision --json`; `restrictions` where `--restrict` was given, one for each host."""

    format: int
    check: bool
    hosts: list[ProvisionHostDocument]
    restrictions: list[RestrictionDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDocument:
    """A finished command."""

    started: str
    command: str
    summary: str
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceDocument:
    """A selection in short; `winners` by scope."""

    id: str
    created: str
    play: str
    model: str
    winners: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRolloutDocument:
    """A past rollout."""

    started: str
    kind: str
    play: str
    model: str
    selection: str | None
    hosts: list[OutcomeDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDocument:
    """`ota history --json`, newest first."""

    format: int
    runs: list[RunDocument]
    selections: list[ChoiceDocument]
    rollouts: list[PastRolloutDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabDeviceDocument:
    """A virtual microcomputer; `runtimes` in order of preference, empty where its facts decide."""

    name: str
    port: int
    running: bool
    pid: int | None
    rate_kbit: int
    delay_ms: int
    runtimes: list[str]
    home: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabDocument:
    """`ota lab up|down|status --json`; `inventory`, `key` and `known_hosts` are what a client needs."""

    format: int
    folder: str
    inventory: str
    key: str
    known_hosts: str
    devices: list[LabDeviceDocument]


DOCUMENTS: dict[str, type] = {
    "rollout": RolloutDocument,
    "status": StatusDocument,
    "ping": PingDocument,
    "provision": ProvisionDocument,
    "history": HistoryDocument,
    "lab": LabDocument,
}
"""By the name of its schema in docs/schemas/."""
