"""A candidate, a contender, and the reason why there is no measurement of one; what was measured is in `samples`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ota.core.release import Digest
from ota.core.setting import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One .tflite made from the model under one scheme."""

    scheme: str
    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Contender:
    """A candidate's file, by scheme and digest, under one setting."""

    scheme: str
    digest: Digest
    setting: Setting


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
