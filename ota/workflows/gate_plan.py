"""Which hosts of a rollout pass a gate, and with what they are measured; nothing of the analysis is loaded before a host needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from ota.core.facts import SlotState
from ota.core.gate import GateSpec, least_samples
from ota.core.inventory import Host
from ota.core.metric import metric_named
from ota.core.playbook import Play
from ota.core.rollout import batches_of
from ota.errors import UsageError
from ota.remote.device import Device
from ota.store.store import Store
from ota.workflows.order import Ends, Gate, Order
from ota.workflows.releases import Plan
from ota.workflows.steps import Steps

if TYPE_CHECKING:
    from ota.core.selection import Selection

MakeGate = Callable[[GateSpec, "Selection"], Gate]


def gates_of(
    play: Play, hosts: Sequence[Host], plan: Plan, store: Store, make: MakeGate
) -> Callable[[Host], Gate | None]:
    """Return each host's gate, None for those that pass none: with the samples of the selection that is rolled out, or of the play's newest.

    `make` is called once, when the first host comes to its gate.

    Raises:
        UsageError: there are no such samples, or too few to show that the bound of `accuracy_drop` is kept.
    """
    spec = play.deploy.gate
    if spec is None:
        return lambda _: None
    gate = LaterGate(spec, _measured_by(play, plan, spec, store), make)
    names = [host.name for host in hosts]
    batches = batches_of(names, () if spec.every_host else play.deploy.serial)
    gated = frozenset(batches[0]) if batches else frozenset()
    return lambda host: gate if host.name in gated else None


def _measured_by(play: Play, plan: Plan, spec: GateSpec, store: Store) -> Selection:
    if plan.selection is None:
        selection = store.latest_selection(play.name, play.model.name)
    else:
        selection = store.selection(plan.selection)
    if selection is None or selection.inputs.probe != plan.probe:
        raise UsageError(
            f"the gate of the play '{play.name}' has nothing to measure this model with",
            expected="a selection of this play whose evaluation samples fit the model's input",
            found="none" if selection is None else f"{selection.id}, whose samples do not",
            hint="run ota select, or take deploy.gate out of the playbook",
        )
    classification = metric_named(selection.inputs.metric).classification
    least = least_samples(spec.accuracy_drop) if spec.accuracy_drop and classification else 0
    if selection.inputs.samples < least:
        raise UsageError(
            f"the gate of the play '{play.name}' could pass no model: too few evaluation samples",
            expected=f"{least} at least to show a loss of at most {100 * (spec.accuracy_drop or 0):g} %",
            found=f"{selection.inputs.samples}",
            hint="evaluate with more samples and run ota select, or widen deploy.gate.accuracy_drop",
        )
    return selection


class LaterGate:
    """A `Gate` that is made when the first host comes to it; used from many threads."""

    def __init__(self, spec: GateSpec, selection: Selection, make: MakeGate) -> None:
        self._spec = spec
        self._selection = selection
        self._make = make
        self._lock = Lock()
        self._hold: Gate | None = None

    def __call__(
        self, device: Device, slot: SlotState, order: Order, ends: Ends, steps: Steps
    ) -> Callable[[], None]:
        """Do as the gate itself does."""
        return self.made()(device, slot, order, ends, steps)

    def made(self) -> Gate:
        """Return the gate itself."""
        with self._lock:
            if self._hold is None:
                self._hold = self._make(self._spec, self._selection)
            return self._hold
