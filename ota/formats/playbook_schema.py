"""The shape of a playbook, for pydantic: each key with its type and what may stand there; defaults are those of `ota.core.playbook`."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ota.core.gate import GateSpec
from ota.core.metric import METRICS, metric_named
from ota.core.playbook import (
    ALL_CORES,
    BatchSize,
    DataSpec,
    DeploySpec,
    HealthCheck,
    MeasureSpec,
    Preprocessing,
    SelectSpec,
)
from ota.core.release import MODEL_ARTIFACT
from ota.core.scheme import SCHEMES
from ota.formats.quantities import Factors, Percentage, Seconds, Share, Size, percentage

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_SELECT = SelectSpec(evaluation=DataSpec(path=PurePath()))
_CHECK = HealthCheck(command="")
_MEASURE = MeasureSpec()
_RESERVED = {MODEL_ARTIFACT, "manifest.json", "manifest.json.sig", "runtime.json", "open_model.py"}


def _component(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"expected a name of letters, digits, '.', '_' and '-', found {value!r}")
    return value


def _artifact(value: str) -> str:
    if value in _RESERVED:
        raise ValueError(f"{value!r} is a name that ota itself gives")
    return _component(value)


def _metric(value: str) -> str:
    try:
        return metric_named(value).name
    except KeyError:
        known = ", ".join(metric.name for metric in METRICS)
        raise ValueError(f"expected one of {known} or top_<k>, found {value!r}") from None


def _scheme(value: str) -> str:
    if value not in {scheme.name for scheme in SCHEMES}:
        raise ValueError(f"expected one of {', '.join(s.name for s in SCHEMES)}, found {value!r}")
    return value


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _batch(value: object) -> BatchSize:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return BatchSize(count=value)
    if isinstance(value, str) and value.strip().endswith("%"):
        return BatchSize(percent=percentage(value))
    raise ValueError(f"expected a count of hosts or a percentage such as 30%, found {value!r}")


def _threads(value: object) -> int:
    if value == "all":
        return ALL_CORES
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 64:
        return value
    raise ValueError(f"expected a number of threads from 1 to 64, or all, found {value!r}")


def _scopes(value: object) -> object:
    if isinstance(value, str) and value not in {"all", "class"}:
        raise ValueError(f"expected all, class or a list of inventory groups, found {value!r}")
    return _listed(value)


Name = Annotated[str, AfterValidator(_component)]
Commands = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class _Mapping(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ModelShape(_Mapping):
    """`model:`."""

    name: Name
    source: str
    artifacts: dict[Annotated[str, AfterValidator(_artifact)], str] = {}


class DataShape(_Mapping):
    """`evaluation:` and `representative:`; a bare string is the path."""

    path: str
    limit: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_path(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value


class PreprocessingShape(_Mapping):
    """`preprocessing:`."""

    scale: Factors = Preprocessing().scale
    offset: Factors = Preprocessing().offset
    resize: Literal["bilinear", "nearest", "bicubic", "area"] = "bilinear"
    color: Literal["rgb", "grayscale"] = "rgb"


class WeightsShape(_Mapping):
    """`weights:` of the objective; one that is not given has the objective's own default."""

    size: Annotated[float, Field(ge=0, strict=False)] | None = None
    latency: Annotated[float, Field(ge=0, strict=False)] | None = None
    accuracy: Annotated[float, Field(ge=0, strict=False)] | None = None
    transfer: Annotated[float, Field(ge=0, strict=False)] | None = None


class LimitsShape(_Mapping):
    """`limits:`."""

    accuracy_drop: Share | None = None
    latency_ms: Annotated[float, Field(gt=0, strict=False)] | None = None
    size: Size | None = None
    memory: Size | None = None


class MeasureShape(_Mapping):
    """`measure:` of a selection."""

    min_blocks: Annotated[int, Field(ge=3, le=1000)] = _MEASURE.min_blocks
    max_blocks: Annotated[int, Field(ge=3, le=1000)] = _MEASURE.max_blocks
    inferences: Annotated[int, Field(ge=3, le=100_000)] = _MEASURE.inferences
    turn: Seconds = _MEASURE.turn_s
    max_turn: Seconds = _MEASURE.max_turn_s
    warmup: Annotated[int, Field(ge=0, le=1000)] = _MEASURE.warmup
    warmup_time: Seconds = _MEASURE.warmup_s
    budget: Seconds = _MEASURE.budget_s
    precision: Share = _MEASURE.precision
    cool_to: Annotated[float, Field(gt=0, le=120, strict=False)] = _MEASURE.cool_to_c
    other_load: Share = _MEASURE.other_load
    seed: Annotated[int, Field(ge=0, lt=2**32)] = _MEASURE.seed

    @model_validator(mode="after")
    def _in_order(self) -> MeasureShape:
        if self.min_blocks > self.max_blocks:
            raise ValueError(f"min_blocks {self.min_blocks} is more than max_blocks {self.max_blocks}")
        return self


class SelectShape(_Mapping):
    """`select:`."""

    evaluation: DataShape
    representative: DataShape | None = None
    preprocessing: PreprocessingShape = PreprocessingShape()
    metric: Annotated[str, AfterValidator(_metric)] = "accuracy"
    schemes: tuple[Annotated[str, AfterValidator(_scheme)], ...] = Field(default=(), strict=False)
    objective: Literal["relative", "log_ratio", "published"] = "relative"
    weights: WeightsShape = WeightsShape()
    limits: LimitsShape = LimitsShape()
    hosts: str | None = None
    hosts_per_class: Annotated[int, Field(ge=1)] = _SELECT.hosts_per_class
    scope: Annotated[tuple[str, ...], BeforeValidator(_scopes), Field(strict=False, min_length=1)] = (
        _SELECT.scope
    )
    threads: Annotated[
        tuple[Annotated[int, BeforeValidator(_threads)], ...],
        BeforeValidator(_listed),
        Field(strict=False, min_length=1),
    ] = _SELECT.threads
    allow_overlap: bool = _SELECT.allow_overlap
    measure: MeasureShape = MeasureShape()


class HealthCheckShape(_Mapping):
    """`health_check:`; a bare string is the command."""

    command: str
    retries: Annotated[int, Field(ge=0)] = _CHECK.retries
    delay: Seconds = _CHECK.delay_s
    timeout: Seconds = _CHECK.timeout_s

    @model_validator(mode="before")
    @classmethod
    def _bare_command(cls, value: object) -> object:
        return {"command": value} if isinstance(value, str) else value


class GateShape(_Mapping):
    """`gate:`."""

    accuracy_drop: Annotated[Share, Field(gt=0, lt=1)] | None = None
    latency_increase: Annotated[Share, Field(gt=0)] | None = None
    hosts: Literal["canary", "all"] = "canary"
    budget: Annotated[Seconds, Field(gt=0)] = GateSpec().budget_s

    @model_validator(mode="after")
    def _bounds_something(self) -> GateShape:
        if self.accuracy_drop is None and self.latency_increase is None:
            raise ValueError(
                "expected accuracy_drop, latency_increase or both: a gate without a bound lets everything pass"
            )
        return self


class DeployShape(_Mapping):
    """`deploy:`."""

    serial: Annotated[
        tuple[Annotated[BatchSize, BeforeValidator(_batch)], ...],
        BeforeValidator(_listed),
        Field(strict=False),
    ] = ()
    max_fail_percentage: Percentage | None = None
    on_failure: Literal["stop", "rollback_batch", "rollback_all"] = "stop"
    pause: Seconds = DeploySpec().pause_s
    before: Annotated[Commands, Field(strict=False)] = ()
    after: Annotated[Commands, Field(strict=False)] = ()
    command_timeout: Seconds = DeploySpec().command_timeout_s
    lease: Seconds = DeploySpec().lease_s
    health_check: HealthCheckShape | None = None
    gate: GateShape | None = None
    keep_releases: Annotated[int, Field(ge=1)] = DeploySpec().keep_releases
    load_check: bool = DeploySpec().load_check


class PlayShape(_Mapping):
    """One play."""

    name: Annotated[str, Field(min_length=1)]
    hosts: Annotated[str, Field(min_length=1)]
    model: ModelShape
    select: SelectShape | None = None
    deploy: DeployShape = DeployShape()
    store: str = ""
