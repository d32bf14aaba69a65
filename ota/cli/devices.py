"""`ota trust`, `ota ping`, `ota provision`: reach the devices and make them ready."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ota.cli.ends import STORE_FOLDER, chosen_hosts, journalled, read_inventory, read_playbook
from ota.cli.options import Target, check_option, json_option, playbook_argument, target_options
from ota.errors import OtaError

if TYPE_CHECKING:
    from ota.cli.session import Session
    from ota.core.keyring import SignedKeyring
    from ota.core.playbook import Play
    from ota.workflows.provision import ProvisionEnds, ProvisionResult
    from ota.workflows.restrict import RestrictResult


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
    from ota.core.facts import Facts
    from ota.core.inventory import Host
    from ota.report.document_types import FORMAT, PingDocument
    from ota.report.documents import ping_host, plain
    from ota.report.fleet_tables import ping_table
    from ota.report.tables import show

    target = Target(**options)  # type: ignore[arg-type]
    hosts = chosen_hosts(read_inventory(target), "all", target)
    with session(target, quiet=as_json) as here:
        connect = here.connector("ping", keep_agent=False)

        def facts(host: Host) -> Facts:
            with connect(host) as device:
                return device.facts()

        outcomes = sorted(
            here.executor.run(facts, hosts, forks=target.forks), key=lambda outcome: outcome.host.name
        )
    rows = [(outcome.host.name, outcome.value, outcome.error) for outcome in outcomes]
    if as_json:
        document = PingDocument(format=FORMAT, hosts=[ping_host(*row) for row in rows])
        click.echo(json.dumps(plain(document), indent=2))
    else:
        show(ping_table(rows))
    return exit_code([error for _, _, error in rows])


@click.command(
    epilog="Examples: ota provision;  ota provision --limit camera-3;  ota provision --check;  ota provision --restrict"
)
@playbook_argument
@click.option(
    "--restrict",
    "restricted",
    is_flag=True,
    help="Then limit the controller's SSH key to the agent and to the commands of this playbook: no shell, no files.",
)
@click.option(
    "--controller-key",
    metavar="FILE.pub",
    help="The public key that --restrict limits. [default: the one that this run signs in with]",
)
@check_option
@json_option
@target_options
def provision(
    *,
    playbook: str,
    restricted: bool,
    controller_key: str | None,
    check: bool,
    as_json: bool,
    **options: object,
) -> int:
    """Read the facts and install, offline and side by side, every runtime that really runs on each device, the keyring and the boot hook; a second run changes nothing."""
    from ota.cli.keys import project_keyrings
    from ota.cli.restricting import Restricting, controllers_key, tell_restrictions
    from ota.cli.session import exit_code, session
    from ota.core.events import PlayStarted
    from ota.workflows.provision import provision as run

    target = Target(**options)  # type: ignore[arg-type]
    key = controllers_key(controller_key, restricted=restricted)
    book = read_playbook(playbook, files=False)
    known = read_inventory(target, playbook)
    keyrings = project_keyrings()
    entries: list[tuple[str, ProvisionResult]] = []
    restricting = Restricting()
    with journalled("provision", playbook) as note, session(target, quiet=as_json) as here:
        for play in book.plays:
            hosts = chosen_hosts(known, play.hosts, target)
            here.watcher.emit(PlayStarted(play=play.name, hosts=tuple(host.name for host in hosts)))
            ends = _provision_ends(play, here, keyrings, check=check)
            results = run(hosts, ends, forks=target.forks, check=check)
            entries += [(play.name, result) for result in results]
            restricting.add(play, [(result.host, result.error) for result in results])
        limited = restricting.run(here, key, check=check) if restricted else ()
        code = exit_code([*(result.error for _, result in entries), *(one.error for one in limited)])
        note(f"{sum(result.changed for _, result in entries)} of {len(entries)} hosts changed", code)
    _tell_provision(entries, limited, check=check, as_json=as_json)
    if not as_json:
        tell_restrictions(limited)
    return code


def _provision_ends(
    play: Play, here: Session, keyrings: tuple[SignedKeyring, ...], *, check: bool
) -> ProvisionEnds:
    from ota.core.connection import connection_of
    from ota.wheels import fetch
    from ota.workflows.provision import ProvisionEnds

    return ProvisionEnds(
        connect=here.connector(play.model.name, keep_agent=not check),
        executor=here.executor,
        fetch=lambda choice: fetch(choice, Path(STORE_FOLDER) / "wheels"),
        preference_of=lambda host: connection_of(host).ota_runtime,
        hook_of=lambda host: connection_of(host).ota_boot_hook,
        keyrings=keyrings,
        emit=here.watcher.emit,
    )


def _tell_provision(
    entries: Sequence[tuple[str, ProvisionResult]],
    limited: Sequence[RestrictResult],
    *,
    check: bool,
    as_json: bool,
) -> None:
    from ota.report.document_types import FORMAT, ProvisionDocument
    from ota.report.documents import plain, provision_host, restriction
    from ota.report.fleet_tables import provision_table
    from ota.report.tables import show

    if as_json:
        hosts_done = [
            provision_host(
                play=name,
                host=result.host.name,
                runtimes=result.runtimes,
                planned=result.planned,
                changed=result.changed,
                bytes_sent=result.bytes_sent,
                warnings=result.warnings,
                error=result.error,
            )
            for name, result in entries
        ]
        keys = [
            restriction(
                host=one.host.name,
                restriction=one.restriction,
                warnings=one.warnings,
                error=one.error,
            )
            for one in limited
        ]
        document = ProvisionDocument(format=FORMAT, check=check, hosts=hosts_done, restrictions=keys)
        click.echo(json.dumps(plain(document), indent=2))
    else:
        show(
            provision_table(
                [(r.host.name, r.runtimes, r.planned, r.changed, r.bytes_sent, r.error) for _, r in entries]
            )
        )
