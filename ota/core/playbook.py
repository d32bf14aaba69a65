"""What a parsed playbook says; the text is `ota.formats.playbook`'s business.

Paths are already resolved against the playbook's folder. Defaults stand here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath

from ota.core.objective import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The trained network: its name on the devices, its source file or folder, and further artifacts (name, path)."""

    name: str
    source: PurePath
    artifacts: tuple[tuple[str, PurePath], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """A folder of images per class or an .npz with x and y; `limit` takes that many samples, spread over the classes."""

    path: PurePath
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How pixels become the network's input: `value * scale + offset`, per channel where three are given.

    Images are resized to the model's own input with `resize` (bilinear, nearest, bicubic, area) and read as `color` (rgb, grayscale).
    """

    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    resize: str = "bilinear"
    color: str = "rgb"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectSpec:
    """How to choose: data, metric, schemes (empty: all), objective, and where and how to measure.

    `hosts` is a pattern within the play's hosts (None: all of them). `winner_per` names inventory groups that each get a winner of their own
    (empty: one winner for all). `threads` are inference threads, `blocks` how often the candidates are interleaved, `warmup` the
    inferences before timing starts in each block.
    """

    evaluation: DataSpec
    representative: DataSpec | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    metric: str = "accuracy"
    schemes: tuple[str, ...] = ()
    objective: Objective = field(default_factory=Objective)
    hosts: str | None = None
    winner_per: tuple[str, ...] = ()
    threads: int = 1
    blocks: int = 5
    warmup: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSize:
    """One entry of `serial`: a count of hosts, or a percentage of the play's hosts."""

    count: int | None = None
    percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """A command whose exit code 0 says that the application is well; tried `retries` more times, `delay_s` apart."""

    command: str
    retries: int = 3
    delay_s: float = 1.0
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploySpec:
    """How to roll out.

    `serial` empty: all hosts in one batch. `max_fail_percentage` must be exceeded to stop; None: a batch that fails whole stops
    the rollout, as in Ansible. `before` and `after` are shell commands run on the device around the activation.
    """

    serial: tuple[BatchSize, ...] = ()
    max_fail_percentage: float | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    command_timeout_s: float = 60.0
    health_check: HealthCheck | None = None
    keep_releases: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Hosts and what is done to them; `select` None: the play only deploys."""

    name: str
    hosts: str
    model: ModelSpec
    select: SelectSpec | None = None
    deploy: DeploySpec = field(default_factory=DeploySpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """A list of plays, in the order in which they run."""

    path: PurePath
    plays: tuple[Play, ...]
