"""The recorded decision: inputs by digest, every measurement, the verdicts."""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.facts import Facts
from ota.core.objective import Objective
from ota.core.release import Digest
from ota.core.verdict import Verdict


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
class Confusion:
    """How often each class was taken for each, by one contender on one host: `counts[true][answered]`; `labels` name the classes."""

    host: str
    scheme: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The decision of one play.

    `id` sorts by time; `created` is UTC, ISO 8601. `facts` are (host name, Facts) pairs of the measured hosts. `log` is the digest of the sample log
    that the verdicts are recomputed from. `changes` are (scheme, sentences) pairs: what each scheme changed in the graph against float32.
    `confusions` are those of the baseline and the proposed candidate, for a classification.
    """

    id: str
    created: str
    play: str
    model: str
    objective: Objective
    inputs: Inputs
    facts: tuple[tuple[str, Facts], ...]
    verdicts: tuple[Verdict, ...]
    log: Digest
    changes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    confusions: tuple[Confusion, ...] = ()
