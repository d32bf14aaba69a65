"""Status: what each device runs, read back now, against what it should run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ota.core.host_status import HostStatus
from ota.core.inventory import Host
from ota.remote.executor import Executor
from ota.workflows.heads import JournalMemory
from ota.workflows.order import Connect
from ota.workflows.staging import refuse_other_model


def status(
    hosts: Sequence[Host],
    expected: Mapping[str, str],
    *,
    model: str,
    connect: Connect,
    executor: Executor,
    forks: int,
    verify: JournalMemory | None = None,
    on_host: Callable[[HostStatus], None] = lambda _: None,
) -> tuple[HostStatus, ...]:
    """Return one status per host, in the order of `hosts`; `expected` says which release each should run, where that is known.

    With `verify` the devices check signatures and journals too, and their journals are held against it and noted. A device that holds another model than `model`, cannot be reached or fails is a status with its error.
    """

    def look(host: Host) -> HostStatus:
        with connect(host) as device:
            slot = device.slot()
            refuse_other_model(device, slot, model)
            facts = device.facts()
            found = device.verify(verify.lines(device)) if verify else None
            rewritten = verify.compare(device, found.journal) if verify and found else ""
        return HostStatus(
            host=host.name,
            slot=slot,
            runtimes=facts.runtimes,
            expected=expected.get(host.name),
            error=None,
            verified=found,
            rewritten=rewritten,
        )

    found: dict[str, HostStatus] = {}
    for outcome in executor.run(look, hosts, forks=forks):
        name = outcome.host.name
        found[name] = (
            outcome.result()
            if outcome.error is None
            else HostStatus(
                host=name, slot=None, runtimes=(), expected=expected.get(name), error=outcome.error
            )
        )
        on_host(found[name])
    return tuple(found[host.name] for host in hosts)
