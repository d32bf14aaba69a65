"""The metrics that a playbook may name, as a literal table; their computation is in `ota.analysis`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOP_K = re.compile(r"top_[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure of merit over an evaluation set; `higher_is_better` is False for an error."""

    name: str
    summary: str
    higher_is_better: bool
    classification: bool


METRICS: tuple[Metric, ...] = (
    Metric(
        name="accuracy",
        summary="share of samples whose first class is right",
        higher_is_better=True,
        classification=True,
    ),
    Metric(
        name="top_5",
        summary="share of samples whose class is among the first five",
        higher_is_better=True,
        classification=True,
    ),
    Metric(name="mse", summary="mean squared error", higher_is_better=False, classification=False),
    Metric(name="mae", summary="mean absolute error", higher_is_better=False, classification=False),
)


def metric_named(name: str) -> Metric:
    """Return the metric called `name`, or any `top_<k>` with k from 2; KeyError otherwise."""
    for metric in METRICS:
        if metric.name == name:
            return metric
    if _TOP_K.fullmatch(name) and name != "top_1":
        k = name.removeprefix("top_")
        return Metric(
            name=name,
            summary=f"share of samples whose class is among the first {k}",
            higher_is_better=True,
            classification=True,
        )
    raise KeyError(name)
