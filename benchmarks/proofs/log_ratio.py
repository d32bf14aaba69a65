"""Does the winner depend on which candidate the others are compared with? 10,000 random candidate sets, each candidate as the baseline in turn.

By `objective: log_ratio` it cannot: ln of the baseline falls out of every comparison. By the relative sum it does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.proofs.figures import Figures as Report
from ota.core.metric import metric_named
from ota.core.objective import Formula, Objective, Weights
from ota.core.terms import Figures, terms_of, total_of

SETS = 10_000
SAMPLES = 500
METRIC = metric_named("accuracy")


def candidates(random: np.random.RandomState) -> list[Figures]:
    """Return three to seven random candidates."""
    return [
        Figures(
            size_bytes=float(random.randint(10_000, 10_000_000)),
            latency_ms=float(np.exp(random.uniform(0, 6))),
            quality=random.randint(SAMPLES // 2, SAMPLES + 1) / SAMPLES,
            transfer_s=float(np.exp(random.uniform(-2, 3))),
            samples=SAMPLES,
        )
        for _ in range(random.randint(3, 8))
    ]


def winners(found: Sequence[Figures], objective: Objective) -> set[int]:
    """Return the places of the winners under every choice of the baseline."""
    places = set()
    for baseline in found:
        totals = [total_of(terms_of(one, baseline, objective, METRIC)) for one in found]
        places.add(min(range(len(found)), key=lambda place, t=totals: t[place]))  # type: ignore[misc]
    return places


def add_log_ratio(report: Report) -> None:
    """Count the sets whose winner changes."""
    random = np.random.RandomState(3)
    changed = dict.fromkeys((Formula.LOG_RATIO, Formula.RELATIVE), 0)
    for _ in range(SETS):
        found = candidates(random)
        weights = Weights(size=1.0, latency=1.0, accuracy=2.0, transfer=0.5)
        for formula in changed:
            changed[formula] += len(winners(found, Objective(formula=formula, weights=weights))) > 1
    share = 100 * changed[Formula.RELATIVE] / SETS
    print(f"{SETS} random sets: the relative sum changes its winner with the baseline in {share:.1f} %")
    report.add("sets whose log_ratio winner depends on the baseline", changed[Formula.LOG_RATIO], "=", 0)


if __name__ == "__main__":
    figures = Report()
    add_log_ratio(figures)
    figures.finish()
