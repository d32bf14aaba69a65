"""Replay: a selection's verdicts recomputed from its raw sample log alone, and compared with those that were recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from ota.analysis.answers import scorer
from ota.core.release import Digest
from ota.core.samples import SampleLog
from ota.core.selection import Selection
from ota.core.verdict import Verdict
from ota.errors import ContentError, Fault
from ota.workflows.choose import rescored, verdicts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The verdicts as recomputed now, and where they differ from the record, a line each; none where they are the same to the last bit."""

    verdicts: tuple[Verdict, ...]
    differences: tuple[str, ...]


def replay(selection: Selection, log: SampleLog, blob: Callable[[Digest], bytes]) -> Replayed:
    """Recompute a selection; `blob` returns what a digest stands for.

    Raises:
        ContentError: outputs or targets in the store are not those that their digests say.
    """

    def verified(digest: Digest) -> bytes:
        content = blob(digest)
        if Digest.of(content) != digest:
            raise ContentError(
                Fault(
                    file=f"{digest.short}",
                    problem="a blob of the sample log was changed in the store",
                    hint="run ota select again",
                )
            )
        return content

    score = scorer(log.metric, verified(log.targets))
    verdicts = verdicts_of(log, rescored(log, verified, score), selection.objective)
    return Replayed(verdicts=verdicts, differences=_differences(selection.verdicts, verdicts))


def _differences(recorded: tuple[Verdict, ...], recomputed: tuple[Verdict, ...]) -> tuple[str, ...]:
    if len(recorded) != len(recomputed):
        return (f"{len(recorded)} verdicts were recorded, {len(recomputed)} recomputed",)
    lines = []
    for old, new in zip(recorded, recomputed, strict=True):
        for field in fields(Verdict):
            before, after = getattr(old, field.name), getattr(new, field.name)
            if before != after:
                lines.append(f"{old.scope}: {field.name}: {_first_difference(before, after)}")
    return tuple(lines)


def _first_difference(before: object, after: object) -> str:
    if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        before, after = next((a, b) for a, b in zip(before, after, strict=True) if a != b)
    return f"recorded {before!r:.300}, recomputed {after!r:.300}"
