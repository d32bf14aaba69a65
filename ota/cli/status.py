"""`ota status` and `ota history`: what runs where, and what happened before."""

from __future__ import annotations

import json

import click

from ota.cli.ends import chosen_hosts, open_store, read_inventory, read_playbook
from ota.cli.options import Target, json_option, playbook_argument, target_options


@click.command(epilog="Examples: ota status;  ota status --limit camera-3 --json")
@playbook_argument
@json_option
@target_options
def status(*, playbook: str, as_json: bool, **options: object) -> int:
    """Show per host the current and previous release as read back now, drift, runtime and free disk."""
    from ota.cli.session import exit_code, session
    from ota.report.documents import StatusEntry, status_document
    from ota.report.tables import show, status_table
    from ota.workflows.status import status as look

    target = Target(**options)  # type: ignore[arg-type]
    book = read_playbook(playbook, files=False)
    known = read_inventory(target, playbook)
    entries: list[StatusEntry] = []
    with open_store() as store, session(target, quiet=as_json) as here:
        for play in book.plays:
            found = look(
                chosen_hosts(known, play.hosts, target),
                store.expected(play.model.name),
                connect=here.connector(play.model.name, keep_agent=False),
                executor=here.executor,
                forks=target.forks,
            )
            entries.append(StatusEntry(play=play.name, model=play.model.name, hosts=found))
    if as_json:
        click.echo(json.dumps(status_document(entries), indent=2))
    else:
        for entry in entries:
            show(status_table(entry))
    return exit_code([host.error for entry in entries for host in entry.hosts])


@click.command(epilog="Examples: ota history;  ota history -n 50 --json")
@click.option(
    "-n", "--number", type=click.IntRange(min=1), default=10, show_default=True, help="How many of each."
)
@json_option
def history(*, number: int, as_json: bool) -> None:
    """Show past runs, selections and rollouts, newest first."""
    from ota.report.documents import history_document
    from ota.report.tables import history_view, show

    with open_store() as store:
        runs, selections, rollouts = store.runs(number), store.selections(number), store.rollouts(number)
    if as_json:
        click.echo(json.dumps(history_document(runs, selections, rollouts), indent=2))
    else:
        show(history_view(runs, selections, rollouts))
