"""`ota inventory`: hosts, groups and variables in ansible-inventory's own shape."""

from __future__ import annotations

import json

import click

from ota.cli.ends import chosen_hosts, read_inventory
from ota.cli.options import Target, target_options
from ota.errors import UsageError


@click.command(
    epilog="Examples: ota inventory --graph;  ota inventory --host cam-3;  ota inventory --limit 'line1:!cam-3' --list-hosts"
)
@click.option("--list", "show_list", is_flag=True, help="All groups and host variables as JSON.")
@click.option("--host", "host_name", metavar="NAME", help="One host's variables as JSON.")
@click.option("--graph", is_flag=True, help="The tree of groups and hosts.")
@click.option("--list-hosts", is_flag=True, help="The matching hosts, one a line.")
@target_options
def inventory(
    *, show_list: bool, host_name: str | None, graph: bool, list_hosts: bool, **options: object
) -> None:
    """Show hosts, groups and variables as ansible-inventory does."""
    from ota.report.inventory_text import graph_text, host_document, inventory_document

    target = Target(**options)  # type: ignore[arg-type]
    if [show_list, bool(host_name), graph, list_hosts].count(True) != 1:
        raise UsageError("say what to show", expected="one of --list, --host NAME, --graph, --list-hosts")
    known = read_inventory(target)
    if list_hosts:
        for host in chosen_hosts(known, "all", target):
            click.echo(host.name)
    elif graph:
        click.echo(graph_text(known))
    elif host_name is not None:
        click.echo(
            json.dumps(host_document(known.host(host_name)), indent=4, sort_keys=True, ensure_ascii=False)
        )
    else:
        click.echo(json.dumps(inventory_document(known), indent=4, sort_keys=True, ensure_ascii=False))
