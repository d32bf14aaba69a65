"""What a parsed playbook says; the text is `ota.formats.playbook`'s business.

Paths are already resolved against the playbook's folder. Defaults stand here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath

from ota.core.gate import GateSpec
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


ALL_CORES = 0
"""As a number of threads: as many as the device has processors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSpec:
    """How the devices are measured.

    Every candidate gets `min_blocks` to `max_blocks` turns of at least `inferences` timed inferences and `turn_s` seconds, at most `max_turn_s` seconds; before them
    at least `warmup` inferences and `warmup_s` seconds go untimed. Measuring ends earlier once the best is apart from the rest or all ratios are known to
    `precision` (a share), and at the latest after `budget_s` seconds a candidate. A block waits until the device is at most `cool_to_c` degrees Celsius
    and is void where other programs took more than `other_load` (a share) of the processors. `seed` seeds every random choice.
    """

    min_blocks: int = 5
    max_blocks: int = 40
    inferences: int = 20
    turn_s: float = 0.05
    max_turn_s: float = 1.0
    warmup: int = 3
    warmup_s: float = 0.05
    budget_s: float = 150.0
    precision: float = 0.01
    cool_to_c: float = 60.0
    other_load: float = 0.5
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectSpec:
    """How to choose: data, metric, schemes (empty: all), objective, and where and how to measure.

    `hosts` is a pattern within the play's hosts (None: all of them), of which `hosts_per_class` of each device class are measured. `scope` says for
    whom there is a winner: `all` (one for all hosts), `class` (one per device class), or names of inventory groups. `threads` are numbers of inference
    threads: all candidates are measured with the first, those still in the race with the others too; ALL_CORES stands for the device's processors.
    `allow_overlap` lets representative samples be in the evaluation set.
    """

    evaluation: DataSpec
    representative: DataSpec | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    metric: str = "accuracy"
    schemes: tuple[str, ...] = ()
    objective: Objective = field(default_factory=Objective)
    hosts: str | None = None
    hosts_per_class: int = 2
    scope: tuple[str, ...] = ("all",)
    threads: tuple[int, ...] = (1, ALL_CORES)
    allow_overlap: bool = False
    measure: MeasureSpec = field(default_factory=MeasureSpec)


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


class OnFailure(Enum):
    """What becomes of the hosts that got the new release when a rollout stops: kept, or returned to their earlier one."""

    STOP = "stop"
    ROLLBACK_BATCH = "rollback_batch"
    ROLLBACK_ALL = "rollback_all"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploySpec:
    """How to roll out.

    `serial` empty: all hosts in one batch. `max_fail_percentage` must be exceeded to stop; None: a batch that fails whole stops
    the rollout, as in Ansible. `on_failure` says what a stop undoes; `pause_s` seconds pass between two batches. `before` and `after` are shell commands run on the device around the activation. A device that hears nothing of the controller for
    `lease_s` seconds before its release is confirmed goes back by itself. `gate` holds the new model to the live one's figures, None: it does not.
    Without `load_check` a model is not tried there before its activation.
    """

    serial: tuple[BatchSize, ...] = ()
    max_fail_percentage: float | None = None
    on_failure: OnFailure = OnFailure.STOP
    pause_s: float = 0.0
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    command_timeout_s: float = 60.0
    lease_s: float = 60.0
    health_check: HealthCheck | None = None
    gate: GateSpec | None = None
    keep_releases: int = 3
    load_check: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Hosts and what is done to them; `select` None: the play only deploys. `store` is the address of a store that is shared, empty: none is."""

    name: str
    hosts: str
    model: ModelSpec
    select: SelectSpec | None = None
    deploy: DeploySpec = field(default_factory=DeploySpec)
    store: str = ""

    @property
    def files(self) -> Mapping[tuple[str, ...], PurePath]:
        """The files that it names, by the keys that name them."""
        named: dict[tuple[str, ...], PurePath] = {("model", "source"): self.model.source}
        named |= {("model", "artifacts", name): path for name, path in self.model.artifacts}
        if self.select is not None:
            named["select", "evaluation"] = self.select.evaluation.path
            if self.select.representative is not None:
                named["select", "representative"] = self.select.representative.path
        return named


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """A list of plays, in the order in which they run."""

    path: PurePath
    plays: tuple[Play, ...]
