"""What stands around every activation, of a deployment and of a rollback alike: commands, health check, read-back, confirmation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ota.core.events import Warned
from ota.core.facts import SlotState
from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import DeploySpec
from ota.core.release import Digest
from ota.errors import HostError, InterruptedRunError, UnreachableError
from ota.remote import requests
from ota.remote.answers import CommandResult, ReadBack
from ota.remote.device import Device
from ota.remote.flight import Flight, Reply
from ota.remote.requests import Asking
from ota.workflows.order import Ends
from ota.workflows.staging import is_staged
from ota.workflows.steps import Steps, stop_here


def before(device: Device, spec: DeploySpec, ends: Ends, steps: Steps, *, reopen_after: bool) -> None:
    """Run the play's commands before the activation.

    Where one fails or a person stops here, the device stays as it was: with `reopen_after` the commands after an activation run, for an
    application that was stopped has to come back.

    Raises:
        HostError: a command failed.
        InterruptedRunError: a person asked to stop.
    """
    try:
        _commands(device, spec.before, "before", spec, steps)
        stop_here(ends)
    except UnreachableError:
        raise
    except (HostError, InterruptedRunError):
        if spec.before and reopen_after:
            for complaint in reopen(device, spec):
                ends.emit(Warned(host=device.host.name, message=complaint))
        raise


class Switch:
    """What makes a release current, and where nothing has to happen in between what was read back behind it: in one flight, of its own or another's.

    `asking` returns the request, signed where it has to be, when it is to go.
    """

    def __init__(
        self,
        release_id: str,
        asking: Callable[[], Asking[ReadBack]],
        spec: DeploySpec,
        *,
        gated: bool = False,
    ) -> None:
        self._release_id = release_id
        self._asking = asking
        self._reads = not spec.after and spec.health_check is None and not gated
        self._flight: Flight | None = None
        self._back: Reply[ReadBack] | None = None
        self.slot: Reply[SlotState] | None = None

    @property
    def may_have_been(self) -> bool:
        """Whether it may have been carried out, where the connection was lost."""
        return self._flight is not None and self._flight.is_out

    def board(self, flight: Flight) -> Reply[ReadBack]:
        """Add it to a flight."""
        self._flight = flight
        self._back = flight.add(self._asking())
        if self._reads:
            self.slot = flight.add(requests.slot(self._release_id))
        return self._back

    def made(self, device: Device) -> ReadBack:
        """Return what was read back; asks for it where the flight that it was to go in was not carried out so far.

        Raises:
            RefusedError: the device did not carry it out.
        """
        back = self._back
        if back is None or back.skipped:
            flight = device.flight()
            back = self.board(flight)
            flight.go()
        return back.value


def prove(
    device: Device,
    release_id: str,
    digest: Digest,
    spec: DeploySpec,
    ends: Ends,
    steps: Steps,
    *,
    read: Reply[SlotState] | None = None,
    gate: Callable[[], None] = lambda: None,
) -> HostOutcome:
    """See that the activated release works, passes the `gate` and is what lies on the disk, end its trial, and remove releases nobody needs.

    `read` is what was read back already, where nothing had to happen before.

    Raises:
        HostError: it does not work, does not pass, or something else was read back; its trial has not ended.
        UnreachableError: the connection was lost before its trial had ended.
    """
    _commands(device, spec.after, "after", spec, steps)
    _health_check(device, spec, ends, steps)
    gate()
    back = device.ask(requests.slot(release_id)) if read is None else read.value
    if back.current != release_id or back.current_digest != digest or not is_staged(back, release_id):
        found = "nothing" if back.current_digest is None else back.current_digest.short
        raise HostError(
            "the device reads back something else",
            where=device.host.name,
            expected=f"{release_id} whole, its model {digest.short}",
            found=f"{back.current or 'no release'}, its model {found}",
        )
    _confirm(device, release_id, digest, spec, ends, steps)
    return steps.ended(HostState.CONFIRMED, release=release_id, digest=digest)


def _confirm(
    device: Device, release_id: str, digest: Digest, spec: DeploySpec, ends: Ends, steps: Steps
) -> None:
    """End the trial, remove old releases, and ask for the journal, one wait for all; what fails behind the end of the trial takes nothing from it."""
    flight = device.flight()
    confirmed = flight.add(
        requests.confirm(release_id),
        told=lambda _: steps.ok("confirm", f"{release_id}, read back {digest.short}"),
    )
    pruned = flight.add(requests.prune(spec.keep_releases))
    journal = None if ends.journals is None else flight.add(requests.journal(ends.journals.lines(device)))
    try:
        flight.go()
        removed = pruned.value if confirmed.refused is None else ()
    except HostError as error:
        if not confirmed.heard:
            raise
        ends.emit(Warned(host=device.host.name, message=f"old releases were not removed: {error.reason}"))
        return
    if confirmed.refused is not None:
        raise confirmed.refused
    if removed:
        steps.ok("prune", ", ".join(removed), changed=True)
    if journal is not None and journal.refused is None:
        steps.journal = journal.value


def reopen(device: Device, spec: DeploySpec) -> tuple[str, ...]:
    """Run the commands after an activation once more, all of them, so that the application opens what is current; return what failed."""
    complaints: list[str] = []
    for command in spec.after:
        try:
            done = device.run(command, timeout_s=spec.command_timeout_s)
        except HostError as error:
            return (*complaints, f"the after command '{command}' was not run again: {error.reason}")
        if done.exit_code:
            complaints.append(
                f"run again, the after command '{command}' ended with {done.exit_code}: {_last_line(done)}"
            )
    return tuple(complaints)


def _commands(device: Device, commands: Sequence[str], what: str, spec: DeploySpec, steps: Steps) -> None:
    for command in commands:
        done = device.run(command, timeout_s=spec.command_timeout_s)
        if done.exit_code:
            raise HostError(
                f"the {what} command '{command}' ended with {done.exit_code}: {_last_line(done)}",
                where=device.host.name,
            )
        steps.ok(what, command, changed=True)


def _health_check(device: Device, spec: DeploySpec, ends: Ends, steps: Steps) -> None:
    check = spec.health_check
    if check is None:
        return
    done = device.run(check.command, timeout_s=check.timeout_s)
    for _ in range(check.retries):
        if not done.exit_code:
            break
        ends.sleep(check.delay_s)
        done = device.run(check.command, timeout_s=check.timeout_s)
    if not done.exit_code:
        steps.ok("health check", check.command)
        return
    times = "once" if not check.retries else f"{check.retries + 1} times, last"
    raise HostError(
        f"the health check '{check.command}' failed {times} with {done.exit_code}: {_last_line(done)}",
        where=device.host.name,
    )


def _last_line(done: CommandResult) -> str:
    lines = done.output.strip().splitlines()
    if lines:
        return lines[-1][:300]
    return "its time was up" if done.exit_code == 124 else "it said nothing"
