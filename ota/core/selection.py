"""The recorded decision: inputs by digest, every measurement, the verdicts."""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.facts import Facts
from ota.core.objective import Objective, Verdict
from ota.core.release import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a selection depended on, so that it can be repeated; `representative` is None where no scheme needed it.

    `evaluation` is the digest of the samples as they were sent to the devices, `probe` of the few that a deployment is checked with.
    `versions` are (name, version) pairs of ota, the converter and its libraries.
    """

    model: Digest
    evaluation: Digest
    probe: Digest
    representative: Digest | None
    metric: str
    samples: int
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The decision of one play. `id` sorts by time; `created` is UTC, ISO 8601. `facts` are (host name, Facts) pairs of the measured hosts."""

    id: str
    created: str
    play: str
    model: str
    objective: Objective
    inputs: Inputs
    facts: tuple[tuple[str, Facts], ...]
    verdicts: tuple[Verdict, ...]
