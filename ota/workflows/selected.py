"""Which release each host shall run by a selection: the winner of its scope, or a scheme that a person names, under the setting it was measured with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ota.core.inventory import Host
from ota.core.measurement import Candidate
from ota.core.playbook import Play
from ota.core.release import Release
from ota.core.selection import Selection
from ota.core.setting import Setting
from ota.core.verdict import Answer, Verdict
from ota.errors import NoFeasibleCandidateError, UnreliableError, UsageError
from ota.store.store import Store
from ota.workflows.releases import Plan, artifacts_of, release_of


def from_selection(
    play: Play, hosts: Sequence[Host], store: Store, *, selection_id: str | None, scheme: str | None
) -> Plan:
    """Return the plan of the newest selection of `play`, or of the one named; `scheme` overrules the winner.

    Raises:
        UsageError: there is no such selection, it is another play's, or a host is in no scope of it.
        NoFeasibleCandidateError: it has no winner.
        UnreliableError: its measurements cannot be trusted.
    """
    if selection_id is None:
        selection = store.latest_selection(play.name, play.model.name)
        if selection is None:
            raise UsageError(f"nothing was selected yet for the play '{play.name}'", hint="ota select")
    else:
        selection = store.selection(selection_id)
        if selection.model != play.model.name:
            raise UsageError(
                f"the selection {selection.id} is of the model '{selection.model}', the play's is '{play.model.name}'"
            )
    artifacts = artifacts_of(play, store)
    releases: dict[str, Release] = {}
    for host in hosts:
        verdict = _scope(selection, host)
        candidate, setting = _chosen(selection, verdict, host, scheme)
        releases[host.name] = release_of(play, candidate, setting, artifacts, store)
    return Plan(releases=releases, probe=selection.inputs.probe, selection=selection.id)


def _scope(selection: Selection, host: Host) -> Verdict:
    """Return the verdict for a host: by the groups that it is in now, else by the device class that it was in."""
    for verdict in selection.verdicts:
        if verdict.scope in {"all", *host.groups}:
            return verdict
    for verdict in selection.verdicts:
        if any(verdict.scope == group.name and host.name in group.hosts for group in verdict.classes):
            return verdict
    scopes = ", ".join(verdict.scope for verdict in selection.verdicts)
    raise UsageError(
        f"{host.name} is in none of the scopes that the selection {selection.id} has winners for: {scopes}"
    )


def _chosen(
    selection: Selection, verdict: Verdict, host: Host, scheme: str | None
) -> tuple[Candidate, Setting | None]:
    """Return what a host gets: the proposed candidate, or that of `scheme`, under the setting that its device class was measured with."""
    if scheme is None:
        if verdict.answer is Answer.UNRELIABLE:
            raise UnreliableError(
                f"the selection {selection.id} is unreliable: {verdict.cause.rstrip('.')}",
                hint="ota select measures again; --scheme NAME overrules it",
            )
        if verdict.winner is None:
            raise NoFeasibleCandidateError(
                f"the selection {selection.id} has no winner: {verdict.cause.rstrip('.')}",
                hint="ota select says why; --scheme NAME overrules it",
            )
        settings = dict(verdict.settings)
        return verdict.winner, settings.get(host.name) or _usual(settings.values())
    for row in verdict.rows:
        if row.scheme == scheme and row.candidate is not None:
            by_class = dict(row.settings)
            of_host = {name: by_class.get(group.name) for group in verdict.classes for name in group.hosts}
            return row.candidate, of_host.get(host.name) or _usual(of_host.values())
    made = ", ".join(row.scheme for row in verdict.rows if row.candidate is not None)
    raise UsageError(f"the selection {selection.id} has no candidate '{scheme}'", expected=f"one of {made}")


def _usual(settings: Iterable[Setting | None]) -> Setting | None:
    """Return the setting that most hosts have, for one that the selection never saw; None where nothing ran anywhere."""
    counted = Counter(setting for setting in settings if setting is not None)
    return max(sorted(counted), key=lambda setting: counted[setting], default=None)
