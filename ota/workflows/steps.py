"""The steps of one host, told to whoever watches and counted for the recap; and the frame around every host's job."""

from __future__ import annotations

from collections.abc import Callable

from ota.core.events import Event, StepFinished, Warned
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.journal_head import JournalState
from ota.core.release import Digest
from ota.errors import InterruptedRunError, OtaError, UnreachableError
from ota.remote.device import Device
from ota.workflows.order import Ends

_GOOD = frozenset((HostState.CONFIRMED, HostState.PENDING))
_WORDS = {HostState.UNREACHABLE: "unreachable", HostState.SKIPPED: "skipped"}


class Steps:
    """What has happened to one host so far; `journal` is the device's, as its last step left it, where that was asked for."""

    def __init__(self, host: str, emit: Callable[[Event], None]) -> None:
        self.host = host
        self.bytes_sent = 0
        self.previous: str | None = None
        self.journal: JournalState | None = None
        self._emit = emit
        self._ok = 0
        self._changed = 0

    def ok(self, step: str, detail: str = "", *, changed: bool = False) -> None:
        """Note a step that ended well."""
        self._ok += 1
        self._changed += changed
        self._tell(step, "changed" if changed else "ok", detail)

    def note(self, message: str) -> None:
        """Tell something that is no step and that a person ought to know."""
        self._emit(Warned(host=self.host, message=message))

    def ended(
        self,
        state: HostState,
        *,
        release: str | None = None,
        digest: Digest | None = None,
        reason: str = "",
    ) -> HostOutcome:
        """Return how the host ended, telling a bad end."""
        if reason and state not in _GOOD:
            self._tell(state.value.replace("_", " "), _WORDS.get(state, "failed"), reason)
        return HostOutcome(
            host=self.host,
            state=state,
            release=release,
            previous=self.previous,
            changed=bool(self._changed),
            bytes_sent=self.bytes_sent,
            digest=digest,
            reason=reason,
            steps_ok=self._ok,
            steps_changed=self._changed,
        )

    def _tell(self, step: str, result: str, detail: str) -> None:
        self._emit(StepFinished(host=self.host, step=step, result=result, detail=detail))


def on_device(
    host: Host, ends: Ends, job: Callable[[Device, Steps], HostOutcome], *, target: str | None = None
) -> HostOutcome:
    """Connect, carry out `job` and return its outcome; a fault that it lets through is one too, with what was counted until then.

    `target` is the release that a host out of reach should have got: it is what the next look at it is compared with.
    """
    steps = Steps(host.name, ends.emit)
    try:
        with ends.connect(host) as device:
            end = job(device, steps)
            if end.state is not HostState.UNREACHABLE:
                _leave(device, ends, steps)
            return end
    except InterruptedRunError as stopped:
        return steps.ended(HostState.SKIPPED, reason=stopped.reason)
    except UnreachableError as error:
        return steps.ended(HostState.UNREACHABLE, release=target, reason=error.reason)
    except OtaError as error:
        return steps.ended(HostState.FAILED, release=steps.previous, reason=error.reason)


def _leave(device: Device, ends: Ends, steps: Steps) -> None:
    """Hold the device's journal, as it was asked for last, against what is known of it."""
    if ends.journals is not None:
        tell = ends.emit
        ends.journals.leave(
            device, lambda host, message: tell(Warned(host=host, message=message)), steps.journal
        )


def stop_here(ends: Ends) -> None:
    """Leave the job where a person asked to stop; InterruptedRunError then. Only for places where the device is as it was."""
    if ends.stopping():
        raise InterruptedRunError("stopped before anything was activated")
