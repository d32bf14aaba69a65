"""Winner, tie, unreliable or none: the answer over the rows of a scope, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ota.analysis.choice import ClassData
from ota.analysis.contrast import beaten
from ota.analysis.leaving import hopeless
from ota.analysis.race import RaceRules
from ota.analysis.rows import ORDER, Ranked, between
from ota.core.verdict import Answer, Status

_STATUS = (Status.FEASIBLE, Status.UNDECIDED, Status.REJECTED, Status.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer, what is proposed (None where nothing may be), the schemes of a tie with the proposed first, and the cause in a sentence."""

    answer: Answer
    proposed: Ranked | None
    tied: tuple[str, ...]
    cause: str


def outcome_of(
    ranked: Sequence[Ranked], classes: Sequence[ClassData], rules: RaceRules, troubles: Sequence[str]
) -> Outcome:
    """Return the answer over the rows; `troubles` say why the measurements cannot be trusted."""
    if troubles:
        return Outcome(answer=Answer.UNRELIABLE, proposed=None, tied=(), cause="; ".join(troubles))
    able = sorted((r for r in ranked if r.can_win), key=place_of)
    if not able:
        return Outcome(answer=Answer.NONE, proposed=None, tied=(), cause=_none(ranked))
    lost = _lost(able, classes, rules)
    apart = _reached(lost)
    tie = [r for place, r in enumerate(able) if place == 0 or place not in apart]
    if len(tie) == 1:
        return Outcome(answer=Answer.WINNER, proposed=able[0], tied=(), cause=_won(able))
    proposed = min(tie, key=simplicity)
    names = [proposed, *(r for r in tie if r is not proposed)]
    return Outcome(
        answer=Answer.TIE,
        proposed=proposed,
        tied=tuple(r.row.scheme for r in names),
        cause=f"{', '.join(_with_total(r) for r in tie)} are not apart; {proposed.row.scheme} is proposed as the "
        + ("smallest" if _size(proposed) < min(_size(r) for r in names[1:]) else "simplest of the smallest"),
    )


def _lost(able: Sequence[Ranked], classes: Sequence[ClassData], rules: RaceRules) -> NDArray[np.bool_]:
    """Return [i, j]: whether j's mean L is less than i's beyond doubt."""
    lost = beaten(between(able, classes), rules.spending)
    everywhere = np.ones_like(lost)
    for at, data in enumerate(classes):
        for number, host in enumerate(data.hosts):
            places = [r.choices[at].places[number] for r in able]
            everywhere &= hopeless(host.evidence, host.points)[np.ix_(places, places)]
    result: NDArray[np.bool_] = lost | everywhere
    return result


def _reached(lost: NDArray[np.bool_]) -> set[int]:
    """Return those that the first is apart from, directly or through one that it is apart from."""
    reached: set[int] = set()
    frontier = {0}
    while frontier:
        found = {int(i) for j in frontier for i in np.flatnonzero(lost[:, j])} - reached - {0}
        reached |= found
        frontier = found
    return reached


def place_of(ranked: Ranked) -> tuple[int, bool, float, int, int]:
    """Return the sort key of a row: status, complete first, L, then the smaller and the simpler."""
    total = ranked.row.total.value if ranked.row.total is not None else 0.0
    return (_STATUS.index(ranked.row.status), not ranked.complete, total, *simplicity(ranked))


def simplicity(ranked: Ranked) -> tuple[int, int]:
    """Return the sort key of a tie: the file's size, then the place in SCHEMES."""
    return (_size(ranked), ORDER.get(ranked.row.scheme, len(ORDER)))


def _size(ranked: Ranked) -> int:
    return ranked.row.candidate.size_bytes if ranked.row.candidate else 0


def _with_total(ranked: Ranked) -> str:
    total = ranked.row.total
    words = f" (L {total.value:+.3f}, {total.low:+.3f} to {total.high:+.3f})" if total is not None else ""
    return f"{ranked.row.scheme}{words}"


def _won(able: Sequence[Ranked]) -> str:
    if len(able) == 1:
        return f"{_with_total(able[0])} is the only one that keeps the limits on every host"
    return f"{_with_total(able[0])} is apart from all others, the next is {_with_total(able[1])}"


def _none(ranked: Sequence[Ranked]) -> str:
    open_ = [r for r in ranked if r.row.status is Status.UNDECIDED]
    partial = [r for r in ranked if r.row.status is Status.FEASIBLE]
    words = "no candidate is known to keep the limits on every host"
    if open_:
        return f"{words}; undecided: " + "; ".join(f"{r.row.scheme}: {r.row.reason}" for r in open_)
    if partial:
        return f"{words}: none ran on every evaluation sample"
    return words
