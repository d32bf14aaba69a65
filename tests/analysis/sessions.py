"""Small sample logs made by numbers: one host, a few contenders, blocks with chosen times and conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ota.analysis.evidence import Question
from ota.core.conditions import Conditions, Watch
from ota.core.device_class import DeviceClass
from ota.core.facts import Facts
from ota.core.measurement import Candidate, Contender
from ota.core.metric import metric_named
from ota.core.objective import Objective
from ota.core.release import Digest
from ota.core.samples import Block, Examination, HostLog, HostScores, SampleLog, TimedTransfer, Turn
from ota.core.setting import Setting

NEW, OLD = "ai-edge-litert 2.3.0", "tflite-runtime 2.14.0"
SAMPLES = 400
FACTS = Facts(
    boot_id="b", architecture="aarch64", python=(3, 11, 2), python_executable="/usr/bin/python3", python_bits=64, libc="glibc 2.36",
    system_numpy="", memory_total_bytes=1 << 30, memory_available_bytes=1 << 29, disk_free_bytes=1 << 30, cpu_model="m", cpu_count=4,
    os="o", kernel="k", hostname="h", root="/r", runtimes=(),
)  # fmt: skip
QUIET = Watch(before=Conditions(), after=Conditions(), seconds=1.0)


def contender(scheme: str, runtime: str = NEW, threads: int = 1) -> Contender:
    """Return a contender whose digest is that of its scheme's name."""
    return Contender(
        scheme=scheme, digest=Digest.of(scheme.encode()), setting=Setting(runtime=runtime, threads=threads)
    )


def host_log(
    ms: Mapping[Contender, float],
    *,
    host: str = "a",
    blocks: int = 6,
    seed: int = 1,
    until: Mapping[Contender, int] | None = None,
    examinations: Sequence[Examination] = (),
    transfers: Sequence[TimedTransfer] = (),
    unreliable: str = "",
    spread: float = 0.03,
) -> HostLog:
    """Return a log in which each contender takes its `ms`, with a few percent of noise, up to block `until` where it is given."""
    random = np.random.RandomState(seed)
    found = []
    for number in range(1, blocks + 1):
        turns = []
        for one, mean in ms.items():
            times = mean * 1e6 * np.exp(spread * random.standard_normal(20))
            if number <= (until or {}).get(one, blocks):
                turns.append(
                    Turn(
                        contender=one,
                        load_ns=1_000_000,
                        cold_ns=9_000_000,
                        warmup=3,
                        latencies_ns=tuple(int(t) for t in times),
                    )
                )
        found.append(Block(number=number, seed=number, at="", turns=tuple(turns), watch=QUIET))
    return HostLog(
        host=host,
        facts=FACTS,
        runtimes=(NEW, OLD),
        blocks=tuple(found),
        examinations=tuple(examinations),
        transfers=tuple(transfers),
        unreliable=unreliable,
    )


def answers(one: Contender, wrong: int, *, count: int = SAMPLES, start: int = 0) -> HostScores:
    """Return scores with `wrong` wrong answers from sample `start` on, over the first `count` samples."""
    values = np.ones(SAMPLES)
    values[start : start + wrong] = 0.0
    return HostScores(contender=one, samples=tuple(range(count)), values=tuple(values[:count].tolist()))


def question(sizes: Mapping[str, int], objective: Objective | None = None) -> Question:
    """Return the question over schemes of these sizes."""
    return Question(
        objective=objective or Objective(),
        metric=metric_named("accuracy"),
        sizes={Digest.of(scheme.encode()): size for scheme, size in sizes.items()},
        samples=SAMPLES,
    )


def sample_log(
    sizes: Mapping[str, int], *logs: HostLog, classes: Sequence[DeviceClass] | None = None, seed: int = 5
) -> SampleLog:
    """Return a whole log; without `classes` every host is one class called board."""
    names = tuple(log.host for log in logs)
    return SampleLog(
        seed=seed,
        candidates=tuple(
            Candidate(scheme=scheme, digest=Digest.of(scheme.encode()), size_bytes=size)
            for scheme, size in sizes.items()
        ),
        hosts=logs,
        classes=tuple(classes)
        if classes is not None
        else (DeviceClass(name="board", hosts=names, measured=names),),
        failures=(),
        scopes=(("all", names),),
        targets=Digest.of(b""),
        metric="accuracy",
        samples=SAMPLES,
    )
