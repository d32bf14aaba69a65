"""`ota report`: which selection, in which form, to where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ota.cli.main import run
from ota.core.samples import SampleLog
from ota.core.selection import Selection
from ota.errors import ExitCode
from ota.report.document_types import FORMAT
from ota.report.documents import plain
from ota.report.html import page
from ota.report.select_document import select_part
from ota.report.select_types import SelectDocument
from ota.report.selection_text import csv_of, markdown_of
from ota.store import Store
from tests.report.selections import a_log, a_selection


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Selection, SampleLog]:
    """Return what the store of the current folder holds."""
    monkeypatch.chdir(tmp_path)
    log = a_log()
    with Store.open(Path(".ota")) as store:
        selection = a_selection(log, kept=store.put_log(log))
        store.save_selection(selection)
        return store.selection(selection.id), log


FORMS = {
    "html": page,
    "json": lambda selection, log: (
        json.dumps(plain(SelectDocument(format=FORMAT, selections=select_part(selection, log))), indent=2)
        + "\n"
    ),
    "csv": lambda selection, _log: csv_of(selection),
    "markdown": markdown_of,
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_goes_to_stdout(form: str, recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """`--output -` prints the report and nothing else, from what the store holds."""
    assert run(["report", "--format", form, "--output", "-"]) == ExitCode.DONE
    assert capsys.readouterr().out == FORMS[form](*recorded)


def test_the_file_is_named_after_the_selection(recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --output the page lies in the current folder and its path is all that stdout has; a second run writes it again."""
    selection, log = recorded
    for args in ([], [selection.id]):
        assert run(["report", *args]) == ExitCode.DONE
        assert capsys.readouterr().out == f"ota-report-{selection.id}.html\n"
    assert Path(f"ota-report-{selection.id}.html").read_text(encoding="utf-8") == page(selection, log)


def test_nothing_was_selected_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty store is told with the command that fills it."""
    monkeypatch.chdir(tmp_path)
    assert run(["report"]) == ExitCode.USAGE
    assert "ota select" in capsys.readouterr().err


FAULTS = {
    "a selection that there is not": (["20250101-000000-ffffff"], "20250101-000000-ffffff"),
    "a folder that is not there": (["--output", "missing/report.html"], "cannot be written"),
    "a folder": (["--output", "."], "cannot be written"),
    "no file to open": (["--output", "-", "--open"], "--open needs a file"),
}


@pytest.mark.parametrize(("args", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_written_is_told(
    args: list[str], said: str, recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """An output that cannot be is a usage error, and stdout stays empty."""
    assert run(["report", *args]) == ExitCode.USAGE
    caught = capsys.readouterr()
    assert said in caught.err
    assert caught.out == ""
