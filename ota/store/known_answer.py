"""What a candidate answered to the probe samples, wherever it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.release import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAnswer:
    """What a candidate answered to the probe samples on `host` under `runtime`, when it was measured; `outputs` are float32 bytes."""

    host: str
    runtime: str
    probe: Digest
    outputs: Digest
