"""What a device measured, parsed into typed values: every field checked, every size bounded, or a HostError with the host's name."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from math import prod

from ota.core.conditions import Conditions, Watch
from ota.core.facts import Runtime
from ota.core.protocol import MAX_BODY
from ota.core.release import Digest
from ota.errors import HostError
from ota.remote.dialogue import Answer, Fields, number, numbers, records, text

_MOST_SAMPLES = 10_000_000
_MOST_NODES = 1_000_000
_MOST_PROCESSORS = 4096
_MOST_DIMENSIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """One turn of a block: which file under which runtime, and on which samples for how long.

    Inferences run on evaluation samples `first`, `first` + `step`, ... modulo their number, at least `count` (0: each sample once) and `min_s` seconds, and no longer
    than `max_s` seconds once three are done; `max_s` None: exactly `count`. `keep` asks for the outputs, of each sample at most once round.
    """

    digest: Digest
    runtime: Runtime
    threads: int
    first: int = 0
    step: int = 1
    count: int = 0
    min_s: float = 0.0
    max_s: float | None = None
    keep: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReply:
    """What a turn measured, raw: nanoseconds, and float32 outputs of `output_shape` [kept inferences, ...]."""

    load_ns: int
    cold_ns: int
    warmup: int
    latencies_ns: tuple[int, ...]
    outputs: bytes
    output_shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a candidate has no measurements, in the runtime's own words; `kind` is `load` or `run`."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReply:
    """A block: an answer for each turn, in their order, and the conditions around them."""

    turns: tuple[TurnReply | Refusal, ...]
    watch: Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One run in a process of its own: bytes that it added, the graph's operators, and which of them (by place) a delegate took in how many parts."""

    peak_memory_bytes: int
    pss_bytes: int
    nodes: tuple[str, ...]
    delegated: tuple[int, ...]
    partitions: int
    spent_ns: int


def block_reply(answer: Answer, asked: int, host: str) -> BlockReply:
    """Return an answer for each of `asked` turns, the body cut into their outputs; HostError where they do not fit together."""
    found = _expected(records(answer.fields, "turns", host), asked, host)
    turns: list[TurnReply | Refusal] = []
    start = 0
    for record in found:
        if "reason" in record:
            turns.append(_refusal(record, host))
            continue
        reply, start = _turn(record, answer.body, start, host)
        turns.append(reply)
    if start != len(answer.body) or start > MAX_BODY:
        raise HostError(
            "the device answers outputs of another size",
            where=host,
            expected=f"{start} bytes",
            found=f"{len(answer.body)}",
        )
    return BlockReply(turns=tuple(turns), watch=_watch(_mapping(answer.fields, "watch", host), host))


def examinations(answer: Answer, asked: int, host: str) -> tuple[Examined | Refusal, ...]:
    """Return an answer for each of `asked` examinations; HostError where they do not fit together."""
    found = _expected(records(answer.fields, "pairs", host), asked, host)
    return tuple(_refusal(one, host) if "reason" in one else _examined(one, host) for one in found)


def _expected(found: tuple[Fields, ...], asked: int, host: str) -> tuple[Fields, ...]:
    if len(found) != asked:
        raise HostError(
            "the device answers for other candidates", where=host, expected=str(asked), found=str(len(found))
        )
    return found


def _refusal(record: Fields, host: str) -> Refusal:
    kind = "load" if record.get("kind") == "load" else "run"
    return Refusal(kind=kind, reason=text(record, "reason", host))


def _turn(record: Fields, body: bytes, start: int, host: str) -> tuple[TurnReply, int]:
    """Return a turn and where in the body the next one begins: first int64 nanoseconds, then float32 outputs, little-endian."""
    shape = numbers(record, "output_shape", host, most=_MOST_SAMPLES)
    inferences = number(record, "inferences", host, most=_MOST_SAMPLES)
    if not 1 <= len(shape) <= _MOST_DIMENSIONS or not inferences or shape[0] > inferences:
        raise HostError(
            "the device answers another number of samples",
            where=host,
            expected=f"at most {inferences}, and one at least",
            found=str(shape)[:100],
        )
    split = start + 8 * inferences
    end = split + 4 * prod(shape)
    if end > len(body):
        raise HostError("the device answers too few outputs", where=host, found=str(shape)[:100])
    latencies = struct.unpack(f"<{inferences}q", body[start:split])
    if min(latencies) < 0:
        raise HostError("the device answers a negative latency", where=host, found=str(min(latencies)))
    reply = TurnReply(
        load_ns=number(record, "load_ns", host),
        cold_ns=number(record, "cold_ns", host),
        warmup=number(record, "warmup", host, most=_MOST_SAMPLES),
        latencies_ns=latencies,
        outputs=body[split:end],
        output_shape=shape,
    )
    return reply, end


def _examined(record: Fields, host: str) -> Examined:
    nodes = record.get("nodes")
    if (
        not isinstance(nodes, list)
        or len(nodes) > _MOST_NODES
        or not all(isinstance(name, str) and len(name) <= 100 for name in nodes)
    ):
        raise HostError("the device answers wrong 'nodes'", where=host, found=repr(nodes)[:100])
    delegated = numbers(record, "delegated", host, most=max(0, len(nodes) - 1))
    if len(set(delegated)) != len(delegated) or (delegated and not nodes):
        raise HostError("the device answers wrong 'delegated'", where=host, found=repr(delegated)[:100])
    return Examined(
        peak_memory_bytes=number(record, "peak_memory_bytes", host),
        pss_bytes=number(record, "pss_bytes", host),
        nodes=tuple(str(name) for name in nodes),
        delegated=delegated,
        partitions=number(record, "partitions", host, most=_MOST_NODES),
        spent_ns=number(record, "spent_ns", host),
    )


def _watch(fields: Fields, host: str) -> Watch:
    return Watch(
        before=_conditions(_mapping(fields, "before", host), host),
        after=_conditions(_mapping(fields, "after", host), host),
        seconds=_real(fields, "seconds", host, 0.0, 1e7),
        busy_other=_real(fields, "busy_other", host, 0.0, 1.0),
        stolen=_real(fields, "stolen", host, 0.0, 1.0),
    )


def _conditions(fields: Fields, host: str) -> Conditions:
    throttled = fields.get("throttled")
    temperature = fields.get("temperature_c")
    memory = fields.get("memory_available_bytes")
    clocks = numbers(fields, "clock_khz", host)
    if len(clocks) > _MOST_PROCESSORS:
        raise HostError("the device answers a wrong 'clock_khz'", where=host, found=f"{len(clocks)} clocks")
    return Conditions(
        throttled=None if throttled is None else number(fields, "throttled", host, most=(1 << 32) - 1),
        clock_khz=clocks,
        governor=text(fields, "governor", host, most=100),
        temperature_c=None if temperature is None else _real(fields, "temperature_c", host, -100.0, 1000.0),
        load_1m=_real(fields, "load_1m", host, 0.0, 1e6),
        boot_id=text(fields, "boot_id", host, most=100),
        memory_available_bytes=None if memory is None else number(fields, "memory_available_bytes", host),
    )


def _mapping(fields: Fields, name: str, host: str) -> Fields:
    value = fields.get(name)
    if not isinstance(value, dict):
        raise HostError(f"the device answers a wrong '{name}'", where=host, found=repr(value)[:100])
    return value


def _real(fields: Fields, name: str, host: str, low: float, high: float) -> float:
    value = fields.get(name)
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise HostError(
            f"the device answers a wrong '{name}'",
            where=host,
            expected=f"a number from {low:g} to {high:g}",
            found=repr(value)[:100],
        )
    return float(value)
