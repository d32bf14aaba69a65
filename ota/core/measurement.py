"""What was observed about a candidate on a host: a measurement, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ota.core.release import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One .tflite made from the model under one scheme."""

    scheme: str
    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a host reported for one candidate, raw.

    `latencies_ns` holds one steady-clock inference time per evaluation sample, `blocks` the block (0, 1, ...) of each. `metrics` are
    (name, value) pairs that the controller computed from the raw outputs, whose float32 bytes are stored under `outputs`.
    `transfer_bytes` were sent in `transfer_s` seconds the time the candidate was timed on its way to this host.
    """

    host: str
    scheme: str
    digest: Digest
    size_bytes: int
    transfer_s: float
    transfer_bytes: int
    load_ns: int
    latencies_ns: tuple[int, ...]
    blocks: tuple[int, ...]
    metrics: tuple[tuple[str, float], ...]
    outputs: Digest
    peak_memory_bytes: int
    runtime: str
    threads: int

    @property
    def latency_ms(self) -> float:
        """The median inference time in milliseconds."""
        ordered = sorted(self.latencies_ns)
        middle = len(ordered) // 2
        twice = ordered[middle] + ordered[-middle - 1] if len(ordered) % 2 == 0 else 2 * ordered[middle]
        return twice / 2e6

    def metric(self, name: str) -> float:
        """Return the value of the metric `name`; KeyError where it was not computed."""
        return dict(self.metrics)[name]


class FailureKind(Enum):
    """Where on its way a candidate failed."""

    NOT_OFFERED = "not offered"
    CONVERSION = "conversion"
    FORETOLD = "foretold"
    TRANSFER = "transfer"
    LOAD = "load"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no measurement of a scheme; `host` is None where it never left the controller, `runtime` empty where that does not matter."""

    scheme: str
    kind: FailureKind
    reason: str
    host: str | None = None
    runtime: str = ""
