"""`ota report`: a recorded selection as one HTML page, JSON, CSV or Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ota.cli.ends import open_store
from ota.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ota.core.samples import SampleLog
    from ota.core.selection import Selection
    from ota.core.vouched import Vouched

_SUFFIX = {"html": "html", "json": "json", "csv": "csv", "markdown": "md"}


@click.command(
    epilog="Examples: ota report --open;  ota report 20260131 --format csv --output -;  ota report --format markdown"
)
@click.argument("selection", required=False)
@click.option("--open", "open_it", is_flag=True, help="Show the file in the browser once it is written.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_SUFFIX)),
    default="html",
    show_default=True,
    help="What to write.",
)
@click.option(
    "--output",
    metavar="FILE",
    help="Where to write it, - for stdout  [default: ota-report-<selection>.<format> here].",
)
def report(*, selection: str | None, open_it: bool, form: str, output: str | None) -> int:
    """Write SELECTION (the latest unless said) as one page that works offline, and print where it is."""
    if open_it and output == "-":
        raise UsageError("--open needs a file, and --output - writes none", hint="leave one of them out")
    recorded, log, vouched = _read(selection)
    text = _FORMS[form](recorded, log, vouched)
    if output == "-":
        click.echo(text, nl=False)
        return ExitCode.DONE
    path = Path(output or f"ota-report-{recorded.id}.{_SUFFIX[form]}")
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(
            f"the report cannot be written: {error.strerror or error}",
            where=str(path),
            hint="name another --output, or - for stdout",
        ) from error
    click.echo(str(path))
    if open_it:
        _show(path)
    return ExitCode.DONE


def _read(selection: str | None) -> tuple[Selection, SampleLog, Vouched | None]:
    from ota.cli.keys import vouched_of

    with open_store() as store:
        if selection is not None:
            recorded = store.selection(selection)
        else:
            newest = store.selections(1)
            if not newest:
                raise UsageError("nothing was selected yet", hint="ota select")
            (recorded,) = newest
        return recorded, store.sample_log(recorded.log), vouched_of(store, recorded.id)


def _html(selection: Selection, log: SampleLog, vouched: Vouched | None) -> str:
    from ota.report.html import page

    return page(selection, log, vouched)


def _json(selection: Selection, log: SampleLog, vouched: Vouched | None) -> str:
    from ota.report.document_types import FORMAT
    from ota.report.documents import plain
    from ota.report.select_document import select_part
    from ota.report.select_types import SelectDocument

    document = SelectDocument(format=FORMAT, selections=select_part(selection, log, vouched=vouched))
    return json.dumps(plain(document), indent=2) + "\n"


def _csv(selection: Selection, _log: SampleLog, _vouched: Vouched | None) -> str:
    from ota.report.selection_text import csv_of

    return csv_of(selection)


def _markdown(selection: Selection, log: SampleLog, vouched: Vouched | None) -> str:
    from ota.report.selection_text import markdown_of

    return markdown_of(selection, log, vouched)


_FORMS: dict[str, Callable[[Selection, SampleLog, Vouched | None], str]] = {
    "html": _html,
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
}


def _show(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        click.echo("no browser could be started: open the file yourself", err=True)
