"""A selection as CSV and as Markdown: complete, whole figures, and nothing that a spreadsheet or a renderer would obey."""

from __future__ import annotations

import csv
import io
import re

import pytest

from ota.report.selection_text import COLUMNS, csv_of, markdown_of
from tests.report.boards import a_log, a_selection
from tests.report.test_html import VERDICTS, evil, winner


@pytest.mark.parametrize(("make", "said"), VERDICTS.values(), ids=VERDICTS.keys())
def test_every_verdict_has_its_texts(make, said: str) -> None:
    """Each kind of verdict gives a Markdown text that says it and what to do next, and a CSV with a line for each contender on each host."""
    selection, log = make()
    text = markdown_of(selection, log)
    assert said.replace("_", "\\_") in text
    assert text.count("\nNext: ") == len(selection.verdicts)
    assert len(csv_of(selection).splitlines()) > sum(len(one.estimates) for one in selection.verdicts)


def test_a_line_has_every_figure_with_its_ends() -> None:
    """The winner's line holds its estimate to the last bit: L, terms, latency, ratio, metric, bounds and transfer with both ends."""
    selection, _ = winner()
    (verdict,) = selection.verdicts
    one = next(one for one in verdict.estimates if one.contender.scheme == "int8")
    found = list(csv.DictReader(io.StringIO(csv_of(selection))))[verdict.estimates.index(one)]
    for name, estimate in {
        "L": one.total,
        "latency_ms": one.latency_ms,
        "ratio": one.ratio,
        "metric": one.quality.metric,
        "transfer_s": one.transfer_s,
    }.items():
        assert float(found[name]) == estimate.value, name
        assert (float(found[f"{name}_low"]), float(found[f"{name}_high"])) == (estimate.low, estimate.high), (
            name
        )
    assert {term.name: float(found[f"d_{term.name}"]) for term in one.terms} == {
        term.name: term.delta for term in one.terms
    }
    assert sum(
        float(found[f"d_{term.name}"]) * float(found[f"weight_{term.name}"]) for term in one.terms
    ) == pytest.approx(one.total.value)
    assert (float(found["p90_ms"]) > float(found["latency_ms"]), found["p99_ms"]) == (True, "")
    assert float(found["drop_lower"]) <= float(found["drop"]) <= float(found["drop_bound"])
    assert (int(found["baseline_right"]) - int(found["lost"]) + int(found["gained"])) == int(found["right"])


def test_a_cell_is_no_formula_and_a_line_is_whole() -> None:
    """Text that a spreadsheet would compute is quoted, and every line has every column, those of a scheme that was never measured too."""
    made = a_log(hosts=("=cmd()", "b", "c"))
    lines = list(csv.DictReader(io.StringIO(csv_of(a_selection(made)))))
    assert set(lines[0]) == set(COLUMNS)
    assert {line["host"] for line in lines} == {"'=cmd()", "b", "c", ""}
    assert len(lines) == 3 * 20 + 1
    assert [line["scheme"] for line in lines if line["status"] == "failed"] == ["float8"]
    assert None not in {value for line in lines for value in line.values()}


def test_markdown_tables_have_as_many_cells_as_headers() -> None:
    """A bar within a cell does not end it."""
    tables = re.split(r"\n\n", markdown_of(*evil()))
    widths = [
        {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines() if line.startswith("|")}
        for table in tables
    ]
    assert max(map(len, widths)) == 1


def test_markup_is_shown_not_obeyed() -> None:
    """What a device says is escaped in Markdown too."""
    assert "<script" not in markdown_of(*evil())
