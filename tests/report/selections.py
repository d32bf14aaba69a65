"""A selection with its sample log for the tests of what shows and keeps them: made by numbers, judged by the real rules."""

from __future__ import annotations

from ota.core.measurement import Failure, FailureKind
from ota.core.objective import Limits, Objective, Weights
from ota.core.release import Digest
from ota.core.samples import HostScores, SampleLog, TimedTransfer
from ota.core.selection import Confusion, Inputs, Selection
from ota.workflows.choose import verdicts_of
from tests.analysis.sessions import NEW, OLD, answers, contender, host_log, sample_log

SIZES = {"float32": 1000, "float16": 500, "int8": 280}
DIGEST = Digest.of(b"model")
OBJECTIVE = Objective(
    weights=Weights(size=1, latency=2, accuracy=3, transfer=0.5), limits=Limits(accuracy_drop=0.05)
)


def a_log(*, unreliable: str = "", twin: bool = False) -> SampleLog:
    """Return the log of hosts `a` and `b`, three schemes under two runtimes; with `twin` float16 is as fast as int8 and no larger."""
    ms = {contender("float32"): 10.0, contender("float16"): 9.0, contender("int8"): 4.0}
    ms |= {contender("float32", OLD): 11.0, contender("int8", OLD): 40.0}
    transfers = [
        TimedTransfer(digest=Digest.of(scheme.encode()), bytes=size, seconds=0.1 + size / 1000)
        for scheme, size in SIZES.items()
    ]
    if twin:
        ms[contender("float16")] = 4.0
    hosts = [
        host_log(ms, host=host, seed=seed, transfers=transfers, unreliable=unreliable)
        for seed, host in enumerate("ab")
    ]
    sizes = SIZES | ({"float16": 280} if twin else {})
    failure = Failure(scheme="int16x8", kind=FailureKind.CONVERSION, reason="no such operator")
    made = sample_log(sizes, *hosts)
    return SampleLog(
        seed=made.seed,
        candidates=made.candidates,
        hosts=made.hosts,
        classes=made.classes,
        failures=(failure,),
        scopes=made.scopes,
        targets=made.targets,
        metric=made.metric,
        samples=made.samples,
    )


def scores_of(log: SampleLog) -> dict[str, tuple[HostScores, ...]]:
    """Return answers of which a few are wrong, some more under int8."""
    return {
        host.host: tuple(
            answers(one, 8 if one.scheme == "int8" else 6)
            for one in sorted({turn.contender for block in host.blocks for turn in block.turns})
        )
        for host in log.hosts
    }


def a_selection(log: SampleLog | None = None, *, kept: Digest = DIGEST) -> Selection:
    """Return the selection that follows from `log`; `kept` is the digest that the log is kept under."""
    log = log or a_log()
    return Selection(
        id="20260101-000000-abcdef",
        created="2026-01-01T00:00:00+00:00",
        play="p",
        model="m",
        objective=OBJECTIVE,
        inputs=Inputs(
            model=DIGEST,
            evaluation=DIGEST,
            probe=DIGEST,
            representative=None,
            metric="accuracy",
            samples=log.samples,
            versions=(("ota", "1"),),
        ),
        facts=tuple((host.host, host.facts) for host in log.hosts),
        verdicts=verdicts_of(log, scores_of(log), OBJECTIVE),
        log=kept,
        changes=(("int8", ("28 filters int8", "1 QUANTIZE after the input")),),
        confusions=(
            Confusion(host="a", scheme="int8", labels=("can", "bottle"), counts=((190, 10), (5, 195))),
        ),
    )


__all__ = ["DIGEST", "NEW", "OBJECTIVE", "OLD", "SIZES", "a_log", "a_selection", "scores_of"]
