"""The steps of one host, told to whoever watches and counted for the recap."""

from __future__ import annotations

from collections.abc import Callable

from ota.core.events import Event, StepFinished
from ota.core.host_state import HostOutcome, HostState
from ota.core.release import Digest


class Steps:
    """What has happened to one host so far."""

    def __init__(self, host: str, emit: Callable[[Event], None]) -> None:
        self.host = host
        self.bytes_sent = 0
        self.previous: str | None = None
        self._emit = emit
        self._ok = 0
        self._changed = 0

    def ok(self, step: str, detail: str = "", *, changed: bool = False) -> None:
        """Note a step that ended well."""
        self._ok += 1
        self._changed += changed
        self._tell(step, "changed" if changed else "ok", detail)

    def ended(
        self,
        state: HostState,
        *,
        release: str | None = None,
        digest: Digest | None = None,
        reason: str = "",
        changed: bool | None = None,
    ) -> HostOutcome:
        """Return how the host ended, telling a bad end."""
        word = {HostState.UNREACHABLE: "unreachable", HostState.SKIPPED: "skipped"}.get(state, "failed")
        if reason and state not in {HostState.CONFIRMED, HostState.PENDING}:
            self._tell(state.value.replace("_", " "), word, reason)
        return HostOutcome(
            host=self.host,
            state=state,
            release=release,
            previous=self.previous,
            changed=bool(self._changed) if changed is None else changed,
            bytes_sent=self.bytes_sent,
            digest=digest,
            reason=reason,
            steps_ok=self._ok,
            steps_changed=self._changed,
        )

    def _tell(self, step: str, result: str, detail: str) -> None:
        self._emit(StepFinished(host=self.host, step=step, result=result, detail=detail))
