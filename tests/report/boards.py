"""A selection as a real fleet gives it, for what shows selections: two boards of one class and a slower one, five schemes under two runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ota.core.conditions import Conditions, Watch
from ota.core.device_class import DeviceClass
from ota.core.facts import Facts, Runtime
from ota.core.measurement import Candidate, Contender, Failure, FailureKind
from ota.core.objective import Limits, Objective
from ota.core.release import Digest
from ota.core.samples import Block, Examination, HostLog, HostScores, Origin, SampleLog, TimedTransfer, Turn
from ota.core.selection import Confusion, Inputs, Selection
from ota.core.setting import Setting
from ota.workflows.choose import verdicts_of

NEW, OLD = "ai-edge-litert 2.3.0", "tflite-runtime 2.14.0"
SAMPLES = 200
BLOCKS = 6
VOID_BLOCK = 3
VOID = "another program took 31 % of the processors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A scheme of the fixture: its file's size, its milliseconds on the fast board under the new and the old runtime, its wrong answers."""

    scheme: str
    size: int
    new_ms: float
    old_ms: float
    wrong: int


MADE = (
    Made(scheme="float32", size=995_000, new_ms=10.0, old_ms=13.0, wrong=12),
    Made(scheme="float16", size=503_000, new_ms=9.9, old_ms=13.4, wrong=12),
    Made(scheme="dynamic_range", size=281_000, new_ms=6.5, old_ms=9.0, wrong=13),
    Made(scheme="int8", size=283_000, new_ms=4.1, old_ms=5.0, wrong=15),
    Made(scheme="int16x8", size=290_000, new_ms=31.0, old_ms=44.0, wrong=12),
)
LABELS = ("can", "bottle", "paper", "glass")
FACTS = Facts(
    boot_id="b", architecture="aarch64", python=(3, 11, 2), python_executable="/usr/bin/python3", python_bits=64, libc="glibc 2.36",
    system_numpy="", memory_total_bytes=4 << 30, memory_available_bytes=3 << 30, disk_free_bytes=9 << 30, cpu_model="Cortex-A72",
    cpu_count=4, os="Debian GNU/Linux 12", kernel="6.1.0", hostname="pi", root="/home/pi/.ota",
    runtimes=(
        Runtime(id="new", package="ai-edge-litert", version="2.3.0", python="/n", wheel_sha256=Digest.of(b"wheel").hex),
        Runtime(id="old", package="tflite-runtime", version="2.14.0", python="/o"),
    ),
    board_revision="c03111", serial_sha256=Digest.of(b"serial").hex, firmware="03dc7742 (clean) (release) (start)",
    cpu_features=("asimd", "crc32", "fp"), affinity=(0, 1, 2, 3), clock_limits_khz=((600_000, 1_500_000),),
    clock_source="clock_gettime(CLOCK_MONOTONIC), arch_sys_counter",
)  # fmt: skip


def a_log(
    *, tie: bool = False, unreliable: str = "", hosts: Sequence[str] = ("pi-1", "pi-2", "zero-1")
) -> SampleLog:
    """Return the log; with `tie` dynamic_range is as fast and as right as int8 and no larger, with `unreliable` the first host is not to be trusted."""
    made = [replace(one, size=281_000, new_ms=4.1, old_ms=5.0, wrong=13) for one in MADE[2:4]]
    schemes = (*MADE[:2], *made, *MADE[4:]) if tie else MADE
    first, second, slow = hosts
    return SampleLog(
        seed=7,
        candidates=tuple(
            Candidate(scheme=one.scheme, digest=_digest(one.scheme), size_bytes=one.size) for one in schemes
        ),
        hosts=(
            _host(first, schemes, 1.0, 1, unreliable),
            _host(second, schemes, 1.02, 2),
            _host(slow, schemes, 4.0, 3),
        ),
        classes=(
            DeviceClass(name="Cortex-A72", hosts=(first, second), measured=(first, second)),
            DeviceClass(name="Cortex-A53", hosts=(slow,), measured=(slow,)),
        ),
        failures=(
            Failure(
                scheme="float8", kind=FailureKind.CONVERSION, reason="the converter has no kernel for it"
            ),
        ),
        scopes=(("all", tuple(hosts)),),
        targets=Digest.of(b"targets"),
        metric="accuracy",
        samples=SAMPLES,
        origins=(
            Origin(
                scheme="int8",
                tool="TensorFlow",
                recipe='{"operators":"TFLITE_BUILTINS_INT8"}',
                operators=("CONV_2D version 3, 28 nodes", "SOFTMAX version 2, 3 nodes"),
            ),
        ),
    )


def scores_of(log: SampleLog, *, tie: bool = False) -> dict[str, tuple[HostScores, ...]]:
    """Return every contender's answers on every sample, wrong as often as its scheme is."""
    wrong = {one.scheme: one.wrong for one in MADE} | ({"int8": 13} if tie else {})
    return {
        host.host: tuple(
            HostScores(
                contender=turn.contender,
                samples=tuple(range(SAMPLES)),
                values=tuple(float(at >= wrong[turn.contender.scheme]) for at in range(SAMPLES)),
            )
            for turn in sorted(host.blocks[0].turns, key=lambda turn: turn.contender)
        )
        for host in log.hosts
    }


def a_selection(
    log: SampleLog | None = None, *, tie: bool = False, limits: Limits | None = None
) -> Selection:
    """Return the selection that follows from `log` by the real rules; `Limits(size_bytes=1)` leaves nothing feasible."""
    log = log or a_log(tie=tie)
    objective = Objective(limits=limits or Limits(accuracy_drop=0.05))
    counts = ((48, 1, 0, 1), (2, 46, 1, 1), (0, 1, 47, 2), (1, 2, 3, 44))
    return Selection(
        id="20260102-101500-abcdef",
        created="2026-01-02T10:15:00+00:00",
        play="sort waste",
        model="waste-sorter",
        objective=objective,
        inputs=Inputs(
            model=_digest("model"),
            evaluation=_digest("evaluation"),
            probe=_digest("probe"),
            representative=_digest("representative"),
            metric=log.metric,
            samples=log.samples,
            versions=(("ota", "0.1.0"), ("tensorflow", "2.20.0")),
        ),
        facts=tuple((host.host, host.facts) for host in log.hosts),
        verdicts=verdicts_of(log, scores_of(log, tie=tie), objective),
        log=_digest("log"),
        changes=(
            ("int8", ("28 filters became int8", "1 QUANTIZE after the input, 1 DEQUANTIZE at the end")),
        ),
        confusions=tuple(
            Confusion(host=log.hosts[0].host, scheme=scheme, labels=LABELS, counts=counts)
            for scheme in ("float32", "int8")
        ),
    )


def _digest(text: str) -> Digest:
    return Digest.of(text.encode())


def _contenders(schemes: Sequence[Made]) -> dict[Contender, float]:
    """Return every contender of the fixture and its milliseconds on the fast board."""
    return {
        Contender(
            scheme=one.scheme, digest=_digest(one.scheme), setting=Setting(runtime=runtime, threads=threads)
        ): ms * (1.0 if threads == 1 else 0.62)
        for one in schemes
        for runtime, ms in ((NEW, one.new_ms), (OLD, one.old_ms))
        for threads in (1, 4)
    }


def _host(name: str, schemes: Sequence[Made], slowness: float, seed: int, unreliable: str = "") -> HostLog:
    random = np.random.RandomState(seed)
    contenders = _contenders(schemes)
    facts = replace(
        FACTS, boot_id=name, hostname=name, cpu_model="Cortex-A53" if slowness > 2 else "Cortex-A72"
    )
    return HostLog(
        host=name,
        facts=facts,
        runtimes=(NEW, OLD),
        blocks=tuple(_block(number, contenders, slowness, random) for number in range(1, BLOCKS + 1)),
        examinations=tuple(
            Examination(
                contender=one,
                peak_memory_bytes=9_000_000,
                pss_bytes=4_000_000,
                nodes=("CONV_2D",) * 28 + ("SOFTMAX",) * 3,
                delegated=() if one.scheme == "int16x8" else tuple(range(28)),
                partitions=0 if one.scheme == "int16x8" else 1,
            )
            for one in contenders
        ),
        transfers=tuple(
            TimedTransfer(digest=_digest(one.scheme), bytes=one.size, seconds=0.05 + one.size / 4e6)
            for one in schemes
        ),
        unreliable=unreliable,
    )


def _block(
    number: int, contenders: dict[Contender, float], slowness: float, random: np.random.RandomState
) -> Block:
    burst = 1.3 if number == VOID_BLOCK else 1.0
    turns = tuple(
        Turn(
            contender=one,
            load_ns=2_000_000,
            cold_ns=int(2 * ms * slowness * 1e6),
            warmup=3,
            first=(number - 1) * 40 % SAMPLES,
            latencies_ns=tuple(
                int(t) for t in ms * slowness * burst * 1e6 * np.exp(0.03 * random.standard_normal(40))
            ),
        )
        for one, ms in contenders.items()
    )
    before, after = (
        Conditions(
            throttled=0,
            clock_khz=(1_500_000 - (200_000 if number == VOID_BLOCK else 0),) * 4,
            governor="ondemand",
            temperature_c=44.0 + 1.5 * (number + later),
            boot_id="b",
            memory_available_bytes=(3 << 30) - (number << 20),
        )
        for later in (0, 1)
    )
    return Block(
        number=number,
        seed=number,
        at=f"2026-01-02T10:{number:02d}:00+00:00",
        turns=turns,
        watch=Watch(before=before, after=after, seconds=48.0, busy_other=0.31 if burst > 1 else 0.01),
        void=VOID if burst > 1 else "",
    )
