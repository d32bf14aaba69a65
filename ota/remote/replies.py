"""What devices answer, parsed into typed values: every field checked, every size bounded, or a HostError with the host's name."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ota.core.facts import Facts, HeldRelease, Runtime, SlotState
from ota.core.protocol import MAX_BODY
from ota.core.release import Digest
from ota.errors import HostError
from ota.remote.dialogue import Answer, Fields, number, numbers, optional_text, records, text

_MAX_SAMPLES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReply:
    """Raw measurements of one candidate: one latency and one block number per sample, and float32 outputs of `output_shape`.

    `load_ns` is the median over the blocks; `peak_memory_bytes` is what the process grew by over one with the runtime loaded.
    """

    load_ns: int
    latencies_ns: tuple[int, ...]
    blocks: tuple[int, ...]
    outputs: bytes
    output_shape: tuple[int, ...]
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a candidate has no measurements, in the runtime's own words; `kind` is `load` or `run`."""

    kind: str
    reason: str


def optional_digest(fields: Fields, name: str, host: str) -> Digest | None:
    """Return a field that must be a SHA-256 in hex or null; HostError otherwise."""
    value = optional_text(fields, name, host)
    try:
        return None if value is None else Digest(value)
    except ValueError as error:
        raise HostError(f"the device answers a wrong '{name}'", where=host, found=str(error)) from error


def runtime_of(fields: Fields, host: str) -> Runtime:
    """Return the runtime that a record describes; HostError where it is none."""
    return Runtime(
        id=text(fields, "id", host),
        package=text(fields, "package", host),
        version=text(fields, "version", host),
        python=text(fields, "python", host),
    )


def facts_of(fields: Fields, host: str) -> Facts:
    """Return the facts that an answer holds; HostError where one is missing or wrong."""
    python = numbers(fields, "python", host, most=10_000)
    if len(python) != 3:
        raise HostError("the device answers a wrong 'python'", where=host, found=str(python)[:80])
    return Facts(
        boot_id=text(fields, "boot_id", host),
        architecture=text(fields, "architecture", host),
        python=(python[0], python[1], python[2]),
        python_executable=text(fields, "python_executable", host),
        python_bits=number(fields, "python_bits", host),
        libc=text(fields, "libc", host),
        system_numpy=text(fields, "system_numpy", host),
        memory_total_bytes=number(fields, "memory_total_bytes", host),
        memory_available_bytes=number(fields, "memory_available_bytes", host),
        disk_free_bytes=number(fields, "disk_free_bytes", host),
        cpu_model=text(fields, "cpu_model", host),
        cpu_count=number(fields, "cpu_count", host),
        os=text(fields, "os", host),
        kernel=text(fields, "kernel", host),
        hostname=text(fields, "hostname", host),
        root=text(fields, "root", host),
        runtimes=tuple(runtime_of(record, host) for record in records(fields, "runtimes", host)),
    )


def slot_of(fields: Fields, host: str) -> SlotState:
    """Return the slot that an answer describes; HostError where it is none."""
    return SlotState(
        model=optional_text(fields, "model", host),
        current=optional_text(fields, "current", host),
        previous=optional_text(fields, "previous", host),
        pending=optional_text(fields, "pending", host),
        current_digest=optional_digest(fields, "current_sha256", host),
        rolled_back_from=optional_text(fields, "rolled_back_from", host),
        releases=tuple(
            HeldRelease(
                id=text(record, "id", host),
                model_digest=optional_digest(record, "model_sha256", host),
                intact=record.get("intact") is True,
            )
            for record in records(fields, "releases", host)
        ),
        disk_free_bytes=number(fields, "disk_free_bytes", host),
    )


def bench_replies(answer: Answer, expected: int, host: str) -> tuple[BenchReply | Refusal, ...]:
    """Return an answer for each of `expected` candidates, the body cut into their outputs; HostError where they do not fit together."""
    found = records(answer.fields, "records", host)
    if len(found) != expected:
        raise HostError(
            "the device answers for other candidates",
            where=host,
            expected=str(expected),
            found=str(len(found)),
        )
    replies: list[BenchReply | Refusal] = []
    start = 0
    for record in found:
        if "reason" in record:
            kind = "load" if record.get("kind") == "load" else "run"
            replies.append(Refusal(kind=kind, reason=text(record, "reason", host)))
            continue
        shape = numbers(record, "output_shape", host, most=_MAX_SAMPLES)
        size = 4 * prod(shape)
        replies.append(_bench_reply(record, shape, answer.body[start : start + size], host))
        start += size
    if start != len(answer.body) or start > MAX_BODY:
        raise HostError(
            "the device answers outputs of another size",
            where=host,
            expected=f"{start} bytes",
            found=f"{len(answer.body)}",
        )
    return tuple(replies)


def _bench_reply(record: Fields, shape: tuple[int, ...], outputs: bytes, host: str) -> BenchReply:
    latencies = numbers(record, "latencies_ns", host)
    blocks = numbers(record, "blocks", host, most=_MAX_SAMPLES)
    if not latencies or len(latencies) != len(blocks) or not shape or shape[0] != len(latencies):
        raise HostError(
            "the device answers another number of samples",
            where=host,
            expected=str(shape[:1]),
            found=str(len(latencies)),
        )
    if len(outputs) != 4 * prod(shape):
        raise HostError("the device answers too few outputs", where=host, found=f"{len(outputs)} bytes")
    return BenchReply(
        load_ns=number(record, "load_ns", host),
        latencies_ns=latencies,
        blocks=blocks,
        outputs=outputs,
        output_shape=shape,
        peak_memory_bytes=number(record, "peak_memory_bytes", host),
    )
