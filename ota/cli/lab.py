"""`ota lab`: virtual microcomputers on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ota.cli.ends import STORE_FOLDER
from ota.cli.options import json_option

if TYPE_CHECKING:
    from ota.lab.fleet import LabState

FOLDER = STORE_FOLDER / "lab"


@click.group(epilog="Example: ota lab up && ota provision && ota select")
def lab() -> None:
    """Start and stop virtual microcomputers: real OpenSSH daemons on loopback ports of this machine."""


@lab.command(epilog="Example: ota lab up -n 3")
@click.option(
    "-n", "--count", type=click.IntRange(1, 200), default=3, show_default=True, help="How many devices."
)
@click.option(
    "--port", type=int, default=24801, show_default=True, help="Port of the first link; 0: any free ones."
)
@json_option
def up(*, count: int, port: int, as_json: bool) -> None:
    """Start the devices; what runs already is left alone."""
    from ota.lab.lab import up as start

    _show(start(Path(FOLDER), count, first_port=port), as_json=as_json)


@lab.command(epilog="Example: ota lab down")
@json_option
def down(*, as_json: bool) -> None:
    """Stop the devices; their disks stay, so that `up` finds them as they were."""
    from ota.lab.lab import down as stop
    from ota.lab.lab import status as state_of

    stop(Path(FOLDER))
    _show(state_of(Path(FOLDER)), as_json=as_json)


@lab.command(epilog="Example: ota lab status --json")
@json_option
def status(*, as_json: bool) -> None:
    """Show the devices and their links."""
    from ota.lab.lab import status as state_of

    _show(state_of(Path(FOLDER)), as_json=as_json)


def _show(state: LabState, *, as_json: bool) -> None:
    if as_json:
        from ota.report.document_types import FORMAT, LabDeviceDocument, LabDocument
        from ota.report.documents import plain

        devices = [
            LabDeviceDocument(**{**asdict(device), "runtimes": list(device.runtimes)})
            for device in state.devices
        ]
        document = LabDocument(
            format=FORMAT,
            folder=state.folder,
            inventory=state.inventory,
            key=state.key,
            known_hosts=state.known_hosts,
            devices=devices,
        )
        click.echo(json.dumps(plain(document), indent=2))
        return
    if not state.devices:
        click.echo("no lab here; ota lab up starts one")
    for device in state.devices:
        word = click.style("up", fg="green") if device.running else click.style("down", fg="red")
        link = f"{device.rate_kbit / 1000:g} Mbit/s, {device.delay_ms:g} ms"
        click.echo(f"{device.name}  {word}  127.0.0.1:{device.port}  {link}  {device.python}")
