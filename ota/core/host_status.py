"""What a device runs against what it should run, and the difference in words."""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.facts import Runtime, SlotState, Verified
from ota.errors import OtaError


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """One host as it was found; `expected` is the release id that the last rollout left there, None where there was none.

    `slot` is None where `error` says why nothing could be read.
    """

    host: str
    slot: SlotState | None
    runtimes: tuple[Runtime, ...]
    expected: str | None
    error: OtaError | None
    verified: Verified | None = None
    """What a verification found beyond what is read back always, None where none was asked for."""
    rewritten: str = ""
    """What became of the journal's lines that were noted at the last contact, empty where they are as they were or nobody looked."""


def drift(status: HostStatus) -> str:
    """Return how a device differs from what it should be, empty where it does not or could not be read."""
    slot = status.slot
    if slot is None:
        return ""
    differences = []
    if slot.pending is not None:
        differences.append(f"{slot.pending} is on trial and unconfirmed")
    if status.expected is not None and slot.current != status.expected:
        differences.append(f"should run {status.expected}")
    if slot.reverted is not None:
        differences.append(slot.reverted.sentence)
    held = next((release for release in slot.releases if release.id == slot.current), None)
    if slot.current is not None and (
        held is None or not held.intact or held.model_digest != slot.current_digest
    ):
        differences.append(f"{slot.current} is damaged")
    if slot.setting is not None and all(slot.setting.runtime != runtime.label for runtime in status.runtimes):
        differences.append(f"its runtime {slot.setting.runtime} is not installed")
    damaged = [release.id for release in slot.releases if not release.intact and release.id != slot.current]
    if damaged:
        differences.append(f"damaged: {', '.join(damaged)}")
    if status.verified is not None:
        differences += _unverified(status.verified, status.rewritten)
    if not differences and slot.current is None:
        return "no release yet"
    return "; ".join(differences)


def _unverified(found: Verified, rewritten: str) -> list[str]:
    faults = [f"its signatures are not good: {found.unsigned}"] if found.unsigned else []
    if found.journal.broken is not None:
        faults.append(f"its journal was changed before line {found.journal.broken} of {found.journal.lines}")
    return [*faults, rewritten] if rewritten else faults
