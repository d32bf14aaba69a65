"""Issue the releases of a plan that is to be signed: with a counter, the architectures and boards that they were selected on, and where they came from."""

from __future__ import annotations

from dataclasses import replace

from ota.core.release import Release
from ota.store.store import Store
from ota.workflows.releases import Plan


def issued(
    plan: Plan, store: Store, *, at: int, again: bool = False, keep: bool = True, any_board: bool = False
) -> Plan:
    """Return the plan with its releases as they are issued at `at`, in seconds since 1970; what was issued before stays as it was, unless `again`; nothing is noted without `keep`.

    What one plan issues has one counter, so that a host may move from one of its releases to another. With `any_board` they may go to boards that the selection
    never measured.
    """
    compatible: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()
    if plan.selection is not None:
        facts = store.selection(plan.selection).facts
        compatible = tuple(sorted({one.architecture for _, one in facts}))
        models = {one.cpu_model for _, one in facts}
        # Where a measured device does not tell its model, a list would shut its like out.
        boards = () if any_board or "" in models else tuple(sorted(models))
    fresh: dict[str, Release] = {}
    counters: dict[str, int] = {}
    for release in {one.id: one for one in plan.releases.values()}.values():
        content = Release(manifest=replace(release.manifest, compatible=compatible, boards=boards))
        model = content.manifest.model
        fresh_counter = counters.setdefault(model, store.next_counter(model, at))
        counter, selection = store.issue(
            model, content.id, selection=plan.selection or "", counter=fresh_counter, again=again, keep=keep
        )
        fresh[release.id] = Release(manifest=replace(content.manifest, counter=counter, selection=selection))
    return replace(plan, releases={host: fresh[one.id] for host, one in plan.releases.items()})
