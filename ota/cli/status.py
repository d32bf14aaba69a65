"""`ota status`, `ota verify` and `ota history`: what runs where, whether it is what it should be, and what happened before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ota.cli.ends import chosen_hosts, now, open_store, read_inventory, read_playbook
from ota.cli.options import Target, json_option, playbook_argument, target_options
from ota.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ota.core.host_status import HostStatus
    from ota.core.playbook import Play
    from ota.store import Store
    from ota.workflows.heads import JournalMemory


@click.command(epilog="Examples: ota status;  ota status --limit camera-3 --json")
@playbook_argument
@json_option
@target_options
def status(*, playbook: str, as_json: bool, **options: object) -> int:
    """Show per host the current and previous release as read back now, drift, runtime and free disk."""
    from ota.cli.session import exit_code

    found, _ = _look(playbook, Target(**options), as_json=as_json, verify=False)  # type: ignore[arg-type]
    return exit_code([host.error for host in found])


@click.command(epilog="Examples: ota verify;  ota verify --limit camera-3 --json")
@playbook_argument
@click.option(
    "--accept-journals",
    "accept",
    is_flag=True,
    help="Take journals as they are now, such as that of a board that was replaced.",
)
@json_option
@target_options
def verify(*, playbook: str, accept: bool, as_json: bool, **options: object) -> int:
    """Read every release on every host back, re-hashed, with its signatures and the journal, and check the signed selections here; exit code 2 where anything is not as it should be."""
    from ota.cli.session import exit_code
    from ota.core.host_status import drift

    target = Target(**options)  # type: ignore[arg-type]
    found, faults = _look(playbook, target, as_json=as_json, verify=True, accept=accept)
    if faults or any(drift(host) for host in found):
        return ExitCode.HOST_FAILED
    return exit_code([host.error for host in found])


def _look(
    playbook: str, target: Target, *, as_json: bool, verify: bool, accept: bool = False
) -> tuple[list[HostStatus], list[str]]:
    """Look at every host of every play, with `verify` at the signed selections too; show what was found and return it with what is wrong here."""
    from ota.cli.keys import changed_selections
    from ota.cli.session import session
    from ota.workflows.status import status as look

    book = read_playbook(playbook, files=False)
    known = read_inventory(target, playbook)
    entries: list[tuple[Play, tuple[HostStatus, ...], tuple[str, ...]]] = []
    with open_store() as store, session(target, quiet=as_json) as here:
        for play in book.plays:
            found = look(
                chosen_hosts(known, play.hosts, target),
                store.expected(play.model.name),
                model=play.model.name,
                connect=here.connector(play.model.name, keep_agent=False),
                executor=here.executor,
                forks=target.forks,
                verify=_memory(store, accept=accept) if verify else None,
            )
            faults = changed_selections(store, play.model.name) if verify else ()
            entries.append((play, found, faults))
    _tell(entries, as_json=as_json)
    return [host for _, found, _ in entries for host in found], [
        fault for _, _, faults in entries for fault in faults
    ]


def _tell(entries: Sequence[tuple[Play, tuple[HostStatus, ...], tuple[str, ...]]], *, as_json: bool) -> None:
    """Print what was found on the hosts of each play, and what is wrong here."""
    if as_json:
        from ota.report.document_types import FORMAT, StatusDocument, StatusPartDocument
        from ota.report.documents import plain, status_host

        plays = [
            StatusPartDocument(
                play=play.name,
                model=play.model.name,
                hosts=[status_host(host) for host in found],
                faults=list(faults),
            )
            for play, found, faults in entries
        ]
        click.echo(json.dumps(plain(StatusDocument(format=FORMAT, plays=plays)), indent=2))
    else:
        from ota.report.fleet_tables import status_table
        from ota.report.tables import show

        for play, found, faults in entries:
            show(status_table(play.model.name, found))
            for fault in faults:
                click.echo(click.style("changed: ", fg="red") + fault, err=True)


def _memory(store: Store, *, accept: bool) -> JournalMemory:
    from ota.workflows.heads import JournalMemory

    return JournalMemory(heads=store.heads, now=lambda: now().isoformat(timespec="seconds"), accept=accept)


@click.command(epilog="Examples: ota history;  ota history -n 50 --json")
@click.option(
    "-n", "--number", type=click.IntRange(min=1), default=10, show_default=True, help="How many of each."
)
@json_option
def history(*, number: int, as_json: bool) -> None:
    """Show past runs, selections and rollouts, newest first."""
    from ota.report.document_types import (
        FORMAT,
        HistoryDocument,
        PastRolloutDocument,
        RunDocument,
    )
    from ota.report.documents import outcomes, plain
    from ota.report.history_view import history_view
    from ota.report.recap import tally
    from ota.report.select_document import choice
    from ota.report.tables import show

    with open_store() as store:
        runs, selections, rollouts = store.runs(number), store.selections(number), store.rollouts(number)
    if as_json:
        document = HistoryDocument(
            format=FORMAT,
            runs=[
                RunDocument(started=r.started, command=r.command, summary=r.summary, exit_code=r.exit_code)
                for r in runs
            ],
            selections=[choice(selection) for selection in selections],
            rollouts=[
                PastRolloutDocument(
                    started=r.started,
                    kind=r.kind,
                    play=r.play,
                    model=r.model,
                    selection=r.selection,
                    hosts=outcomes(r.outcomes),
                )
                for r in rollouts
            ],
        )
        click.echo(json.dumps(plain(document), indent=2))
    else:
        show(
            history_view(
                [(r.started, r.command, r.summary, r.exit_code) for r in runs],
                selections,
                [(r.started, r.kind, r.play, tally(r.outcomes)) for r in rollouts],
            )
        )
