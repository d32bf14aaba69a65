"""L from a table that a person brings: the first row is the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ota.core.metric import Metric
from ota.core.objective import Objective, Term
from ota.core.terms import Figures, terms_of, total_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One line of the table."""

    scheme: str
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """L of one line and its terms."""

    scheme: str
    total: float
    terms: tuple[Term, ...]


def score_rows(rows: Sequence[TableRow], objective: Objective, metric: Metric) -> tuple[Scored, ...]:
    """Return L of every row against the first."""
    scored = []
    for row in rows:
        terms = terms_of(row.figures, rows[0].figures, objective, metric)
        scored.append(Scored(scheme=row.scheme, total=total_of(terms), terms=terms))
    return tuple(scored)
