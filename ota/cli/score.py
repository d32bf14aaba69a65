"""`ota score` and `ota schemes`: the objective on a table of one's own, and what there is to choose from."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ota.cli.options import json_option
from ota.core.metric import METRICS
from ota.core.scheme import SCHEMES


@click.command(
    epilog="Examples: ota score table.csv;  ota score examples/published_table.csv --objective published"
)
@click.argument("table", type=click.Path(path_type=Path), metavar="TABLE.csv")
@click.option(
    "--objective",
    type=click.Choice(["relative", "log_ratio", "published"]),
    default="relative",
    show_default=True,
)
@json_option
def score(*, table: Path, objective: str, as_json: bool) -> None:
    """Compute the terms of L from a table: scheme, size_bytes, latency_ms, accuracy or error, and perhaps transfer_s.

    The first row is the baseline that the others are compared with.
    """
    from dataclasses import asdict

    from ota.core.objective import PUBLISHED_FAULT, Formula, Objective, default_weights
    from ota.core.score import score_rows
    from ota.formats.score_table import read_score_table
    from ota.report.document_types import FORMAT
    from ota.report.documents import plain
    from ota.report.score_view import score_view
    from ota.report.select_types import ScoredDocument, ScoreDocument, TermDocument
    from ota.report.tables import show

    formula = Formula(objective)
    read = read_score_table(table)
    scored = score_rows(read.rows, Objective(formula=formula, weights=default_weights(formula)), read.metric)
    note = PUBLISHED_FAULT if formula is Formula.PUBLISHED else ""
    if not as_json:
        show(score_view(scored, note))
        return
    rows = [
        ScoredDocument(
            scheme=one.scheme, L=one.total, terms=[TermDocument(**asdict(term)) for term in one.terms]
        )
        for one in scored
    ]
    click.echo(
        json.dumps(plain(ScoreDocument(format=FORMAT, formula=objective, note=note, rows=rows)), indent=2)
    )


@click.command(epilog="Example: ota schemes")
def schemes() -> None:
    """List the quantization schemes and the metrics that a playbook may name."""
    for scheme in SCHEMES:
        published = f" ({scheme.published})" if scheme.published else ""
        click.echo(f"{scheme.name:25}{scheme.summary}{published}")
    click.echo()
    for metric in METRICS:
        click.echo(
            f"{metric.name:25}{metric.summary}, {'higher' if metric.higher_is_better else 'lower'} is better"
        )
