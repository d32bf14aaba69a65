"""From what the hosts reported to the recorded selection: a verdict per scope, and the record that the store keeps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ota.core.decide import decide
from ota.core.inventory import Host
from ota.core.metric import metric_named
from ota.core.objective import Verdict
from ota.core.playbook import Play, SelectSpec
from ota.core.release import Digest
from ota.core.selection import Selection
from ota.errors import NoFeasibleCandidateError, UsageError
from ota.store.store import KnownAnswer, Store
from ota.workflows.prepare import Prepared
from ota.workflows.select import HostResult

ALL = "all"


def scopes_of(hosts: Sequence[Host], spec: SelectSpec) -> dict[str, tuple[str, ...]]:
    """Return the host names of each scope that gets a winner of its own; UsageError for a group that no host is in."""
    if not spec.winner_per:
        return {ALL: tuple(host.name for host in hosts)}
    scopes = {group: tuple(host.name for host in hosts if group in host.groups) for group in spec.winner_per}
    for group, members in scopes.items():
        if not members:
            raise UsageError(f"winner_per names the group '{group}', and no measured host is in it")
    return scopes


def choose(
    play: Play, spec: SelectSpec, prepared: Prepared, results: Sequence[HostResult], *, at: datetime
) -> Selection:
    """Return the selection over the hosts that were measured.

    Raises:
        NoFeasibleCandidateError: no host could be measured at all.
    """
    measured = [result for result in results if result.error is None]
    if not measured:
        raise NoFeasibleCandidateError(
            "no host could be measured", hint="ota ping shows what each of them says"
        )
    verdicts = tuple(
        _verdict(scope, names, spec, prepared, measured)
        for scope, names in scopes_of([result.host for result in measured], spec).items()
    )
    stamp = at.strftime("%Y%m%d-%H%M%S")
    content = Digest.of(repr((prepared.inputs, verdicts)).encode())
    return Selection(
        id=f"{stamp}-{content.hex[:6]}",
        created=at.isoformat(timespec="seconds"),
        play=play.name,
        model=play.model.name,
        objective=spec.objective,
        inputs=prepared.inputs,
        facts=tuple((result.host.name, result.facts) for result in measured if result.facts is not None),
        verdicts=verdicts,
    )


def _verdict(
    scope: str, names: tuple[str, ...], spec: SelectSpec, prepared: Prepared, measured: Sequence[HostResult]
) -> Verdict:
    return decide(
        candidates=prepared.plan.candidates,
        measurements=[m for result in measured for m in result.measurements],
        failures=[*prepared.failures, *(f for result in measured for f in result.failures)],
        objective=spec.objective,
        metric=metric_named(spec.metric),
        hosts=names,
        scope=scope,
    )


def remember(selection: Selection, prepared: Prepared, store: Store) -> None:
    """Keep a selection, and of every measured candidate its answers to the probe samples, for deployments to compare with."""
    store.save_selection(selection)
    samples = selection.inputs.samples
    for measurement in {m for v in selection.verdicts for row in v.rows for m in row.measurements}:
        outputs = store.blob(measurement.outputs).read_bytes()
        size = len(outputs) // samples
        answers = b"".join(outputs[index * size : (index + 1) * size] for index in prepared.probe_indexes)
        store.put_answer(
            measurement.digest,
            KnownAnswer(
                host=measurement.host,
                runtime=measurement.runtime,
                probe=selection.inputs.probe,
                outputs=store.put_blob(answers),
            ),
        )
