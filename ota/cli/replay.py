"""`ota replay`: recompute a selection's verdict from its raw sample log."""

from __future__ import annotations

import json

import click

from ota.cli.ends import open_store
from ota.cli.options import json_option
from ota.errors import ExitCode, UsageError


@click.command(epilog="Examples: ota replay;  ota replay 20260131 --json")
@click.argument("selection", required=False)
@json_option
def replay(*, selection: str | None, as_json: bool) -> int:
    """Recompute the verdict of SELECTION (the latest unless said) from its raw sample log; exit code 2 where it is not the same, bit for bit."""
    from dataclasses import replace

    from ota.cli.keys import vouched_of
    from ota.report.document_types import FORMAT
    from ota.report.documents import plain
    from ota.report.select_document import select_part
    from ota.report.select_types import SelectDocument
    from ota.report.selection_view import selection_view
    from ota.report.tables import show
    from ota.workflows.replay import replay as recompute

    with open_store() as store:
        if selection is None:
            newest = store.selections(1)
            if not newest:
                raise UsageError("nothing was selected yet", hint="ota select")
            (recorded,) = newest
        else:
            recorded = store.selection(selection)
        log = store.sample_log(recorded.log)
        found = recompute(recorded, log, lambda digest: store.blob(digest).read_bytes())
        vouched = vouched_of(store, recorded.id)
    again = replace(recorded, verdicts=found.verdicts)
    if as_json:
        parts = select_part(again, log, vouched=vouched)
        click.echo(json.dumps(plain(SelectDocument(format=FORMAT, selections=parts)), indent=2))
    else:
        show(selection_view(again))
    for line in found.differences:
        click.echo(click.style("differs: ", fg="red") + line, err=True)
    if not found.differences and not as_json:
        click.echo(f"replayed {recorded.id}: the same to the last bit as recorded", err=True)
    return ExitCode.HOST_FAILED if found.differences else ExitCode.DONE
