"""The jobs of a rollout by name, carried out here or at the site that the ends name."""

from __future__ import annotations

from ota.core.host_state import HostOutcome
from ota.core.inventory import Host
from ota.workflows.deploy_host import check_host, deploy_host
from ota.workflows.order import Ends, JobName, Order, Return
from ota.workflows.rollback_host import check_rollback_host, rollback_host


def carry_out(job: JobName, host: Host, order: Order | Return, ends: Ends) -> HostOutcome:
    """Carry a job out, near the device where the ends say so."""
    if ends.elsewhere is not None:
        return ends.elsewhere(job, host, order, ends)
    return carry_out_here(job, host, order, ends)


def carry_out_here(job: JobName, host: Host, order: Order | Return, ends: Ends) -> HostOutcome:
    """Carry a job out from this process."""
    if isinstance(order, Order):
        return deploy_host(host, order, ends) if job == "deploy" else check_host(host, order, ends)
    return rollback_host(host, order, ends) if job == "return" else check_rollback_host(host, order, ends)
