"""Try a model on the device before it is activated: what does not load, or answers otherwise than measured, stays out."""

from __future__ import annotations

from ota.errors import HostError
from ota.remote.bench_replies import Refusal, TurnRequest
from ota.remote.device import Device
from ota.workflows.order import Ends, Order
from ota.workflows.staging import Seen, bring_samples, send
from ota.workflows.steps import Steps


def is_wanted(order: Order) -> bool:
    """Say whether the model is to be tried on the device before it is activated."""
    return order.probe is not None and order.spec.load_check


def load_check(device: Device, seen: Seen, order: Order, ends: Ends, steps: Steps) -> None:
    """Run the release's model over the probe samples under the runtime that the release names, else the device's preferred one; `seen` has the device's facts.

    Raises:
        HostError: there is no runtime, the model does not load or run, or its answers are not to be trusted.
    """
    if order.probe is None or not order.spec.load_check:
        return
    model = order.release.model
    setting = order.release.manifest.setting
    facts = seen.facts or device.facts()
    runtime = ends.runtime_for(device.host, facts, setting.runtime if setting else None)
    if not bring_samples(device, order.probe, seen, ends, model.digest):
        send(device, model, ends, steps)
    turn = TurnRequest(digest=model.digest, runtime=runtime, threads=setting.threads if setting else 1)
    (reply,) = device.bench(order.probe, [turn], warmup=0, warmup_s=0.0).turns
    if isinstance(reply, Refusal):
        raise HostError(
            f"the model does not {reply.kind} under {runtime.label}: {reply.reason}", where=device.host.name
        )
    reason = ends.agree(model.digest, device.host.name, runtime.label, reply.outputs)
    if reason:
        raise HostError(f"the model's answers are not to be trusted: {reason}", where=device.host.name)
    count = len(reply.latencies_ns)
    steps.ok("load check", f"{count} sample{'s' if count > 1 else ''} under {runtime.label}")
