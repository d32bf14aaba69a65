"""Issue the releases of a plan that is to be signed: with a counter, the architectures that they were selected for, and where they came from."""

from __future__ import annotations

from dataclasses import replace

from ota.core.release import Release
from ota.store.store import Store
from ota.workflows.releases import Plan


def issued(plan: Plan, store: Store, *, at: int, again: bool = False) -> Plan:
    """Return the plan with its releases as they are issued at `at`, in seconds since 1970; what was issued before stays as it was, unless `again`."""
    compatible: tuple[str, ...] = ()
    if plan.selection is not None:
        facts = store.selection(plan.selection).facts
        compatible = tuple(sorted({one.architecture for _, one in facts}))
    fresh: dict[str, Release] = {}
    for release in {one.id: one for one in plan.releases.values()}.values():
        content = Release(manifest=replace(release.manifest, compatible=compatible))
        counter, selection = store.issue(
            content.manifest.model, content.id, selection=plan.selection or "", at=at, again=again
        )
        fresh[release.id] = Release(manifest=replace(content.manifest, counter=counter, selection=selection))
    return replace(plan, releases={host: fresh[one.id] for host, one in plan.releases.items()})
