"""`ota select`: quantize, measure on the devices, choose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ota.cli.ends import chosen_hosts, journalled, now, open_store, read_inventory, read_playbook
from ota.cli.options import Target, json_option, playbook_argument, target_options
from ota.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ota.cli.session import Session
    from ota.core.inventory import Host
    from ota.core.playbook import Play, SelectSpec
    from ota.core.selection import Selection
    from ota.store import Store
    from ota.workflows.select import HostResult


@click.command(
    epilog="Examples: ota select;  ota select --inventory inventory.yaml playbooks/site.yaml;  ota select --limit 'sorters[0]' --json"
)
@playbook_argument
@json_option
@target_options
def select(*, playbook: str, as_json: bool, **options: object) -> int:
    """Quantize the model under every scheme, measure each candidate on the devices and choose the one with the least L."""
    from ota.cli.session import session
    from ota.report.document_types import FORMAT, SelectDocument
    from ota.report.documents import plain, select_part
    from ota.report.tables import selection_view, show

    target = Target(**options)  # type: ignore[arg-type]
    book = read_playbook(playbook)
    known = read_inventory(target, playbook)
    plays = [(play, play.select) for play in book.plays if play.select is not None]
    if not plays:
        raise UsageError("no play of the playbook selects", where=playbook, hint="give one a select: section")
    entries: list[tuple[Selection, tuple[HostResult, ...]]] = []
    codes: list[ExitCode] = []
    with journalled("select", playbook) as note:
        with open_store() as store, session(target, quiet=as_json) as here:
            for play, spec in plays:
                hosts = _measured(
                    chosen_hosts(known, play.hosts, target), known.select(spec.hosts or play.hosts)
                )
                selection, results = _select(play, spec, hosts, here, store)
                entries.append((selection, results))
                codes.append(_code(selection, results))
        code = max(codes, key=_SEVERITY.index)
        note("; ".join(_summary(selection) for selection, _ in entries), code)
    if as_json:
        parts = [
            part
            for selection, results in entries
            for part in select_part(
                selection, [(r.host.name, r.error) for r in results if r.error is not None]
            )
        ]
        click.echo(json.dumps(plain(SelectDocument(format=FORMAT, selections=parts)), indent=2))
    else:
        for selection, _ in entries:
            show(selection_view(selection))
    return code


_SEVERITY = (ExitCode.DONE, ExitCode.HOSTS_UNREACHABLE, ExitCode.HOST_FAILED, ExitCode.NO_FEASIBLE_CANDIDATE)


def _measured(hosts: Sequence[Host], wanted: Sequence[Host]) -> tuple[Host, ...]:
    names = {host.name for host in wanted}
    chosen = tuple(host for host in hosts if host.name in names)
    if not chosen:
        raise UsageError("no host is left to measure on", hint="select.hosts and --limit have none in common")
    return chosen


def _select(
    play: Play, spec: SelectSpec, hosts: Sequence[Host], here: Session, store: Store
) -> tuple[Selection, tuple[HostResult, ...]]:
    from ota.cli.session import runtime_for
    from ota.core.events import PlayStarted
    from ota.workflows.choose import choose, remember
    from ota.workflows.prepare import Prepared, prepare
    from ota.workflows.select import Ends, Plan, measure_fleet

    emit = here.watcher.emit
    prepared: list[Prepared] = []

    def plan() -> Plan:
        prepared.append(prepare(play, spec, cache=store, keep=store.put_blob, emit=emit))
        return prepared[0].plan

    emit(PlayStarted(play=play.name, hosts=tuple(host.name for host in hosts)))
    ends = Ends(
        connect=here.connector(play.model.name),
        executor=here.executor,
        records=store,
        emit=emit,
        runtime_for=runtime_for,
    )
    results = measure_fleet(hosts, plan, ends, forks=here.target.forks)
    if not prepared:
        for result in results:
            if result.error is not None:
                raise result.error
    selection = choose(play, spec, prepared[0], results, at=now())
    remember(selection, prepared[0], store)
    return selection, results


def _code(selection: Selection, results: Sequence[HostResult]) -> ExitCode:
    from ota.cli.session import exit_code

    if any(verdict.winner is None for verdict in selection.verdicts):
        return ExitCode.NO_FEASIBLE_CANDIDATE
    return exit_code([result.error for result in results])


def _summary(selection: Selection) -> str:
    winners = ", ".join(verdict.winner.scheme if verdict.winner else "none" for verdict in selection.verdicts)
    return f"{selection.id}: {winners}"
