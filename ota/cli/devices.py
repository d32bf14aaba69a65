"""`ota trust`, `ota ping`, `ota provision`: reach the devices and make them ready."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ota.cli.ends import STORE_FOLDER, chosen_hosts, journalled, read_inventory, read_playbook
from ota.cli.options import Target, check_option, json_option, playbook_argument, target_options
from ota.errors import ExitCode, OtaError


@click.command(
    epilog="Examples: ota trust;  ota trust --limit camera-3;  ota trust --yes  (only on a network that you trust)"
)
@click.option("-y", "--yes", is_flag=True, help="Record without asking.")
@click.option("--hash", "hashed", is_flag=True, help="Hash the hosts' names in the file.")
@target_options
def trust(*, yes: bool, hashed: bool, **options: object) -> int:
    """Fetch hosts' SSH keys, show their fingerprints and record them after a yes. A changed key is never replaced here."""
    from ota.core.connection import connection_of
    from ota.remote.ssh import offered_keys

    target = Target(**options)  # type: ignore[arg-type]
    errors: list[OtaError] = []
    for host in chosen_hosts(read_inventory(target), "all", target):
        connection = connection_of(host)
        if connection.kind == "local":
            continue
        try:
            offer = offered_keys(host, connection)
            if not offer.unknown:
                click.echo(f"{host.name}: known already")
                continue
            click.echo(f"{host.name}: {offer.name} shows")
            for key in offer.keys:
                click.echo(f"  {key.title} {key.fingerprint}")
            if yes or click.confirm(f"  record them in {offer.files[0]}?", default=False):
                click.echo(f"  recorded {len(offer.record(hashed=hashed))} keys")
        except OtaError as error:
            errors.append(error)
            click.echo(click.style("error: ", fg="red") + error.render(), err=True)
    from ota.cli.session import exit_code

    return exit_code(errors)


@click.command(epilog="Examples: ota ping;  ota ping --limit cameras --json")
@json_option
@target_options
def ping(*, as_json: bool, **options: object) -> int:
    """Reach every host, run the agent there without leaving a file, and print the facts."""
    from ota.cli.session import exit_code, session
    from ota.report.documents import PingEntry, ping_document
    from ota.report.tables import ping_table, show

    target = Target(**options)  # type: ignore[arg-type]
    hosts = chosen_hosts(read_inventory(target), "all", target)
    with session(target, quiet=as_json) as here:
        connect = here.connector("ping", keep_agent=False)

        def facts(host: object) -> object:
            with connect(host) as device:  # type: ignore[arg-type]
                return device.facts()

        entries = [
            PingEntry(host=outcome.host.name, facts=outcome.value, error=outcome.error)  # type: ignore[arg-type]
            for outcome in here.executor.run(facts, hosts, forks=target.forks)
        ]
    entries.sort(key=lambda entry: entry.host)
    if as_json:
        click.echo(json.dumps(ping_document(entries), indent=2))
    else:
        show(ping_table(entries))
    return exit_code([entry.error for entry in entries])


@click.command(epilog="Examples: ota provision;  ota provision --limit camera-3;  ota provision --check")
@playbook_argument
@check_option
@json_option
@target_options
def provision(*, playbook: str, check: bool, as_json: bool, **options: object) -> int:
    """Read the facts and install, offline, the runtime that really runs on each device; a second run changes nothing."""
    from ota.cli.session import exit_code, session
    from ota.core.connection import connection_of
    from ota.core.events import PlayStarted
    from ota.report.documents import ProvisionEntry, provision_document
    from ota.report.tables import provision_table, show
    from ota.wheels import fetch
    from ota.workflows.provision import ProvisionEnds
    from ota.workflows.provision import provision as run

    target = Target(**options)  # type: ignore[arg-type]
    book = read_playbook(playbook, files=False)
    known = read_inventory(target, playbook)
    entries: list[ProvisionEntry] = []
    with journalled("provision", playbook) as note, session(target, quiet=as_json) as here:
        for play in book.plays:
            hosts = chosen_hosts(known, play.hosts, target)
            here.watcher.emit(PlayStarted(play=play.name, hosts=tuple(host.name for host in hosts)))
            results = run(
                hosts,
                ProvisionEnds(
                    connect=here.connector(play.model.name, keep_agent=not check),
                    executor=here.executor,
                    fetch=lambda choice: fetch(choice, Path(STORE_FOLDER) / "wheels"),
                    preference_of=lambda host: connection_of(host).ota_runtime,
                    emit=here.watcher.emit,
                ),
                forks=target.forks,
                check=check,
            )
            entries += [
                ProvisionEntry(
                    play=play.name,
                    host=result.host.name,
                    runtime=result.runtime,
                    planned=result.planned,
                    changed=result.changed,
                    bytes_sent=result.bytes_sent,
                    error=result.error,
                )
                for result in results
            ]
        code: ExitCode = exit_code([entry.error for entry in entries])
        note(f"{sum(entry.changed for entry in entries)} of {len(entries)} hosts changed", code)
    if as_json:
        click.echo(json.dumps(provision_document(entries, check=check), indent=2))
    else:
        show(provision_table(entries))
    return code
