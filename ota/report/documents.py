"""Core values turned into the documents that `--json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from ota.core.facts import Facts, Runtime
from ota.core.host_state import HostOutcome
from ota.core.host_status import HostStatus, drift
from ota.core.release import Digest
from ota.core.restriction import Restriction
from ota.errors import OtaError, UnreachableError
from ota.report.document_types import (
    HeldDocument,
    HostStatusDocument,
    OutcomeDocument,
    PingHostDocument,
    ProvisionHostDocument,
    RestrictionDocument,
    RolloutPartDocument,
)


def plain(document: object) -> dict[str, Any]:
    """Return a document as what `json.dumps` takes."""
    if not is_dataclass(document) or isinstance(document, type):
        raise TypeError("not a document")
    return asdict(document)


def state_of(error: OtaError | None) -> str:
    """Return ok, failed or unreachable."""
    if error is None:
        return "ok"
    return "unreachable" if isinstance(error, UnreachableError) else "failed"


def outcomes(ends: Sequence[HostOutcome]) -> list[OutcomeDocument]:
    """Return how hosts ended."""
    return [
        OutcomeDocument(
            host=end.host,
            state=end.state.value,
            release=end.release,
            previous=end.previous,
            changed=end.changed,
            bytes_sent=end.bytes_sent,
            digest=_text(end.digest),
            reason=end.reason,
        )
        for end in ends
    ]


def rollout_part(
    *, play: str, kind: str, check: bool, selection: str | None, stop: str, ends: Sequence[HostOutcome]
) -> RolloutPartDocument:
    """Return one play's rollout."""
    releases = {end.release for end in ends if end.state.value in {"confirmed", "pending"}}
    return RolloutPartDocument(
        play=play,
        kind=kind,
        check=check,
        selection=selection,
        release=next(iter(releases)) if len(releases) == 1 else None,
        stop=stop,
        hosts=outcomes(ends),
    )


def status_host(status: HostStatus) -> HostStatusDocument:
    """Return one host as it was found."""
    slot = status.slot
    return HostStatusDocument(
        host=status.host,
        state=state_of(status.error),
        reason=status.error.reason if status.error else "",
        current=slot.current if slot else None,
        previous=slot.previous if slot else None,
        pending=slot.pending if slot else None,
        expected=status.expected,
        digest=_text(slot.current_digest) if slot else None,
        drift=drift(status),
        runtime=slot.setting.runtime if slot and slot.setting else None,
        threads=slot.setting.threads if slot and slot.setting else None,
        runtimes=[runtime.label for runtime in status.runtimes],
        disk_free_bytes=slot.disk_free_bytes if slot else None,
        releases=[
            HeldDocument(id=held.id, digest=_text(held.model_digest), intact=held.intact is True)
            for held in (slot.releases if slot else ())
        ],
    )


def ping_host(host: str, facts: Facts | None, error: OtaError | None) -> PingHostDocument:
    """Return one host's facts, or why there are none."""
    return PingHostDocument(
        host=host,
        state=state_of(error),
        reason=error.reason if error else "",
        facts=None if facts is None else asdict(facts),
    )


def provision_host(
    *,
    play: str,
    host: str,
    runtimes: Sequence[Runtime],
    planned: Sequence[str],
    changed: bool,
    bytes_sent: int,
    warnings: Sequence[str] = (),
    error: OtaError | None,
) -> ProvisionHostDocument:
    """Return one host's runtimes, or why it has none."""
    return ProvisionHostDocument(
        play=play,
        host=host,
        state=state_of(error),
        reason=error.reason if error else "",
        runtimes=[runtime.label for runtime in runtimes],
        planned=list(planned),
        changed=changed,
        bytes_sent=bytes_sent,
        warnings=list(warnings),
    )


def restriction(
    *, host: str, restriction: Restriction | None, warnings: Sequence[str], error: OtaError | None
) -> RestrictionDocument:
    """Return what one host's key is limited by, or why it is not."""
    return RestrictionDocument(
        host=host,
        state=state_of(error),
        reason=error.reason if error else "",
        changed=restriction is not None and restriction.changed,
        file=restriction.file if restriction else "",
        line=restriction.line if restriction else "",
        sudoers=restriction.sudoers if restriction else "",
        warnings=list(warnings),
    )


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)
