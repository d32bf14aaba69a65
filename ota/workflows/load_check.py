"""Try a model on the device before it is activated: what does not load, or answers otherwise than measured, stays out."""

from __future__ import annotations

from ota.core.protocol import BlobKind
from ota.core.release import Digest
from ota.errors import HostError
from ota.remote import requests
from ota.remote.bench_replies import BlockReply, Refusal, TurnRequest
from ota.remote.device import Device
from ota.remote.flight import Flight, Reply
from ota.remote.requests import Along
from ota.workflows.order import Ends, Order
from ota.workflows.staging import Seen, send
from ota.workflows.steps import Steps


def is_wanted(order: Order) -> bool:
    """Say whether the model is to be tried on the device before it is activated."""
    return order.probe is not None and order.spec.load_check


class LoadCheck:
    """The model over the probe samples, under the runtime that the release names, else the device's preferred one; `seen` has the device's facts.

    It goes in the flight that stages the release where it can, and by itself where not.

    Raises:
        HostError: there is no such runtime.
    """

    def __init__(self, device: Device, seen: Seen, order: Order, probe: Digest, ends: Ends) -> None:
        self._device = device
        self._seen = seen
        self._order = order
        self._probe = probe
        self._ends = ends
        setting = order.release.manifest.setting
        facts = seen.facts or device.facts()
        self._runtime = ends.runtime_for(device.host, facts, setting.runtime if setting else None)
        self._turn = TurnRequest(
            digest=order.release.model.digest,
            runtime=self._runtime,
            threads=setting.threads if setting else 1,
        )
        self._reply: Reply[BlockReply] | None = None

    def board(self, flight: Flight) -> None:
        """Add it, and the samples where the device has nothing of them, to a flight that brings the model where that is not there."""
        model, seen = self._order.release.model, self._seen
        comes = model in seen.missing(self._order.release)
        if self._probe in seen.begun or not (comes or model.digest in seen.held):
            return
        if self._probe not in seen.held:
            path = self._ends.blob(self._probe)
            along = Along(path=path, length=path.stat().st_size)
            flight.add(requests.bring(BlobKind.DATASET, self._probe, along.length, along, None))
        self._reply = flight.add(requests.bench(self._probe, [self._turn]))

    def judge(self, steps: Steps) -> None:
        """See what came of it.

        Raises:
            HostError: the model does not load or run, or its answers are not to be trusted.
        """
        name, model = self._device.host.name, self._order.release.model
        boarded = self._reply is not None and not self._reply.skipped
        (reply,) = (
            self._reply.value if self._reply is not None and boarded else self._by_itself(steps)
        ).turns
        if isinstance(reply, Refusal):
            raise HostError(
                f"the model does not {reply.kind} under {self._runtime.label}: {reply.reason}", where=name
            )
        reason = self._ends.agree(model.digest, name, self._runtime.label, reply.outputs)
        if reason:
            raise HostError(f"the model's answers are not to be trusted: {reason}", where=name)
        count = len(reply.latencies_ns)
        steps.ok("load check", f"{count} sample{'s' if count > 1 else ''} under {self._runtime.label}")

    def _by_itself(self, steps: Steps) -> BlockReply:
        device, model = self._device, self._order.release.model
        if model.digest not in device.held([(BlobKind.CANDIDATE, model.digest)]):
            send(device, model, self._ends, steps)
        device.put(BlobKind.DATASET, self._probe, self._ends.blob(self._probe))
        return device.ask(requests.bench(self._probe, [self._turn]))
