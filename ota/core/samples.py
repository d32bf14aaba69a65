"""What a selection measured, raw: blocks of turns with every sample, the conditions around them, transfers and examinations.

A contender is a candidate's file under one runtime with one number of threads: what is measured, compared and rolled out. A block holds every live
contender once, in shuffled order, each in a fresh process, the baseline among them. Nothing here is summarised: the verdict is recomputed from these
values alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.conditions import Watch
from ota.core.device_class import DeviceClass
from ota.core.facts import Facts
from ota.core.measurement import Candidate, Contender, Failure
from ota.core.release import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One contender's turn in one block, in a fresh process.

    `load_ns` is the time to build the Interpreter and allocate, `cold_ns` that of the first inference, `warmup` how many more went untimed.
    `latencies_ns` holds one time per inference, the i-th of evaluation sample (first + i) mod N. The float32 outputs of the first `kept` inferences,
    `output_bytes` bytes, are part of the block's outputs. Where `failure` is not empty the rest is 0 and `failure_kind` is `load` or `run`.
    """

    contender: Contender
    load_ns: int = 0
    cold_ns: int = 0
    warmup: int = 0
    first: int = 0
    latencies_ns: tuple[int, ...] = ()
    kept: int = 0
    output_bytes: int = 0
    failure: str = ""
    failure_kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block on one host.

    `void` says why it counts for nothing, empty where it counts. `outputs` is the digest of the kept outputs, float32, turn after turn in the
    order of `turns`, None where none was kept. `at` is UTC, ISO 8601.
    """

    number: int
    seed: int
    at: str
    turns: tuple[Turn, ...]
    watch: Watch
    outputs: Digest | None = None
    void: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """A contender's run in a process of its own, for memory and for what the fast path took; `spent_ns` is what loading and one inference took, no latency.

    `nodes` are the graph's operators in order, `delegated` the indexes of those that a delegate took, `partitions` how many delegate nodes do
    their work. `peak_memory_bytes` (VmHWM) and `pss_bytes` are what loading and running added to a process with the runtime loaded.
    """

    contender: Contender
    peak_memory_bytes: int
    pss_bytes: int
    nodes: tuple[str, ...]
    delegated: tuple[int, ...]
    partitions: int
    spent_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTransfer:
    """One timed transfer of a file of `bytes` bytes to a host, seconds until it lay there durably."""

    digest: Digest
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLog:
    """Everything that one host contributed.

    `runtimes` are the labels in order of preference; `unreliable` says why its measurements cannot be trusted, empty where they can.
    """

    host: str
    facts: Facts
    runtimes: tuple[str, ...]
    blocks: tuple[Block, ...]
    examinations: tuple[Examination, ...]
    transfers: tuple[TimedTransfer, ...]
    unreliable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostScores:
    """How well one contender answered on one host, sample by sample.

    `samples` are the numbers of those samples, ascending; `values` one number each: 1.0 or 0.0 for a classification (right or wrong under the
    metric), the error (squared or absolute) for a regression.
    """

    contender: Contender
    samples: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How a candidate's file was made, and what it needs: for the record alone.

    `recipe` is what `tool` was told, as JSON. `operators` are what the file lists, such as `CONV_2D version 3, 27 nodes`.
    """

    scheme: str
    tool: str
    recipe: str
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleLog:
    """A selection's raw material: what `ota replay` recomputes the verdict from.

    `seed` seeds every random choice; `targets` is the digest of what the network should have answered to each of the `samples` evaluation samples;
    `scopes` are (scope, host names) pairs that get a winner each. `min_blocks` and `max_blocks` are those that the race was held by: the verdict
    tests over the same looks. `origins` are of the candidates, none in logs that were written before they were kept.
    """

    seed: int
    candidates: tuple[Candidate, ...]
    hosts: tuple[HostLog, ...]
    classes: tuple[DeviceClass, ...]
    failures: tuple[Failure, ...]
    scopes: tuple[tuple[str, tuple[str, ...]], ...]
    targets: Digest
    metric: str
    samples: int
    min_blocks: int = 5
    max_blocks: int = 40
    origins: tuple[Origin, ...] = ()
