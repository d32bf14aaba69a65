"""What workflows tell whoever watches: one union of frozen events; the watcher decides what a person sees."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayStarted:
    """A play begins on these hosts."""

    play: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStarted:
    """A batch of a rollout begins; `number` counts from 1."""

    number: int
    of: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMoved:
    """Of the `of` hosts of batch `number`, `done` have ended, `bad` of them badly."""

    number: int
    done: int
    of: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """Nothing happens for `seconds` before batch `number` begins."""

    number: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnStarted:
    """These hosts go back to their earlier releases; `reason` is why the rollout stopped."""

    hosts: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step ended on a host: `result` is ok, changed, failed, unreachable or skipped."""

    host: str
    step: str
    result: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """A long step moves: `done` of `total` units (bytes or samples); `host` is empty for work on the controller."""

    host: str
    step: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something a person should know that stops nothing."""

    message: str
    host: str = ""


Event = PlayStarted | BatchStarted | BatchMoved | Paused | ReturnStarted | StepFinished | Progressed | Warned
