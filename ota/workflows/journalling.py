"""Between a deployment's plan and its journal: what is noted at the beginning, what a later run makes of it, what each device ran when it was first met."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from ota.core.facts import SlotState
from ota.core.inventory import Host, Inventory
from ota.core.playbook import DeploySpec, Play
from ota.core.release import Digest, Release
from ota.core.rollout import Wanted, batches_of
from ota.core.rollout_log import Begun, HostFound
from ota.errors import UsageError
from ota.store.codec import to_plain
from ota.workflows.releases import Plan


def begun_of(play: Play, hosts: Sequence[Host], plan: Plan, started: str) -> Begun:
    """Return the first record of a rollout's journal; `started` is UTC, ISO 8601."""
    batches = batches_of([host.name for host in hosts], play.deploy.serial)
    releases = {release.id: release for release in plan.releases.values()}
    return Begun(
        started=started,
        play=play.name,
        model=play.model.name,
        selection=plan.selection,
        spec=spec_digest(play.deploy),
        probe=plan.probe,
        batches=batches,
        max_fail_percentage=play.deploy.max_fail_percentage,
        on_failure=play.deploy.on_failure,
        wanted=wanted_of(hosts, plan.releases),
        manifests=tuple(releases[name].manifest for name in sorted(releases)),
    )


def wanted_of(hosts: Sequence[Host], releases: Mapping[str, Release]) -> tuple[Wanted, ...]:
    """Return what each host shall get, in the order of `hosts`."""
    return tuple(
        Wanted(host=host.name, release=releases[host.name].id, digest=releases[host.name].model.digest)
        for host in hosts
    )


def spec_digest(spec: DeploySpec) -> Digest:
    """Return the digest of a play's `deploy:`."""
    return Digest.of(json.dumps(to_plain(spec), sort_keys=True).encode())


def plan_of(begun: Begun) -> Plan:
    """Return the plan of a rollout that is taken up; UsageError where this `ota` would give its releases other ids."""
    releases = {release.id: release for release in (Release(manifest=one) for one in begun.manifests)}
    if {one.release for one in begun.wanted} != set(releases):
        raise UsageError(
            "another ota began this rollout, and made its releases in another form",
            found=", ".join(sorted({one.release for one in begun.wanted})),
            expected=", ".join(sorted(releases)),
            hint="ota deploy begins anew; what is done is not done twice",
        )
    return Plan(
        releases={one.host: releases[one.release] for one in begun.wanted},
        probe=begun.probe,
        selection=begun.selection,
    )


def play_of(begun: Begun, plays: Sequence[Play], where: str) -> Play:
    """Return the play that a rollout is of; UsageError where it is gone from the playbook at `where`, or deploys otherwise now."""
    play = next((play for play in plays if play.name == begun.play), None)
    anew = "ota deploy begins anew; what is done is not done twice"
    if play is None:
        raise UsageError(f"the rollout is of the play '{begun.play}', which is not here", where=where)
    if play.model.name != begun.model or spec_digest(play.deploy) != begun.spec:
        raise UsageError(
            f"the play '{play.name}' was changed since its rollout began", where=where, hint=anew
        )
    return play


def hosts_of(begun: Begun, inventory: Inventory) -> tuple[Host, ...]:
    """Return a rollout's hosts, in its order; UsageError where one is gone from the inventory."""
    known = {host.name: host for host in inventory.hosts}
    names = [name for batch in begun.batches for name in batch]
    gone = [name for name in names if name not in known]
    if gone:
        raise UsageError(
            "the inventory lacks hosts of this rollout",
            found=", ".join(gone),
            hint="ota deploy begins anew; what is done is not done twice",
        )
    return tuple(known[name] for name in names)


def noting(
    note: Callable[[HostFound], None], known: Iterable[HostFound] = ()
) -> Callable[[Host, SlotState], None]:
    """Return what notes what each device runs when it is first met, but of those `known`."""
    met = {one.host for one in known}

    def noted(host: Host, slot: SlotState) -> None:
        if host.name not in met:
            note(HostFound(host=host.name, current=slot.current))
            met.add(host.name)

    return noted
