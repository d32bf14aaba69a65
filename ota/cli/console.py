"""What a person sees while a workflow runs: live progress on a terminal, plain lines when piped, nothing with --json.

Everything here goes to stderr; stdout carries results alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, TypeAlias

import click

from ota.core.events import (
    BatchMoved,
    BatchStarted,
    Event,
    Paused,
    PlayStarted,
    Progressed,
    ReturnStarted,
    StepFinished,
    Warned,
)

Part: TypeAlias = "str | tuple[str, str]"
"""A piece of a line, as it is or with its style."""
Key: TypeAlias = tuple[str, str]
"""The host and the step of what moves."""
_COLOURS = {
    "ok": "green",
    "changed": "yellow",
    "failed": "bold red",
    "unreachable": "bold red",
    "skipped": "cyan",
}
_QUIET = frozenset(("ok", "changed"))
FEW = 50
"""A batch of more hosts is told in counts; by name only who is slow or in trouble, unless -v asks for all."""
_SLOW_S = 5.0
_MOST_SLOW = 10
_PORTIONS = 10
"""How often a large batch is told of where there is no terminal to show it move."""


class Display(Protocol):
    """Where events are shown, from any thread."""

    @property
    def is_live(self) -> bool:
        """Whether a bar would be seen moving."""
        ...

    @property
    def bars(self) -> tuple[str, ...]:
        """The names of what moves now."""
        ...

    def start(self) -> None:
        """Begin to show what moves."""
        ...

    def stop(self) -> None:
        """Show no more of it: what is printed next stands alone."""
        ...

    def line(self, *parts: Part) -> None:
        """Print one line."""
        ...

    def bar(self, key: Key, name: str, done: int, total: int) -> None:
        """Show how far something has come."""
        ...

    def drop(self, key: Key) -> None:
        """Take a bar away, where there is one."""
        ...


class Plain:
    """A Display without colours and bars."""

    is_live = False
    bars = ()

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def line(self, *parts: Part) -> None:
        """Print one line."""
        click.echo("".join(part if isinstance(part, str) else part[0] for part in parts), err=True)

    def bar(self, key: Key, name: str, done: int, total: int) -> None:
        """Show nothing."""

    def drop(self, key: Key) -> None:
        """Do nothing."""


def display(*, moves: bool) -> Display:
    """Return what shows a run on this stderr; rich is loaded where it may be a terminal."""
    if sys.stderr.isatty() or os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE"):
        from ota.cli.terminal import Terminal

        return Terminal(moves=moves)
    return Plain()


class Watcher:
    """Shows events; a context manager, so that a live display always ends before a result or an error is printed."""

    def __init__(self, *, quiet: bool, verbose: int = 0) -> None:
        self._display = display(moves=not quiet)
        self._quiet = quiet
        self._verbose = verbose
        self._moving: set[Key] = set()
        self._since: dict[Key, float] = {}
        self._is_large = False

    def __enter__(self) -> Watcher:  # noqa: PYI034 - Self is not in 3.10
        self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    @property
    def bars(self) -> tuple[str, ...]:
        """The names of what moves on the terminal now."""
        return self._display.bars

    def emit(self, event: Event) -> None:
        """Show one event; may be called from any thread."""
        if isinstance(event, Warned):
            self._line(f"{event.host}: {event.message}" if event.host else event.message, "warning", "yellow")
        elif not self._quiet:
            self._show(event)

    def trace(self, host: str, text: str) -> None:
        """Show one line of the dialogue with a device, where -v asks for it."""
        if self._verbose and not self._quiet:
            self._display.line((f"{host}: {text}", "dim"))

    def _show(self, event: Event) -> None:
        line = self._display.line
        match event:
            case PlayStarted():
                count = len(event.hosts)
                line("\n", ("PLAY", "bold"), f" {event.play} on {count} host{'s' * (count != 1)}")
            case BatchStarted():
                self._is_large = len(event.hosts) > FEW
                line(("BATCH", "bold"), f" {event.number} of {event.of}: {named(event.hosts)}")
            case BatchMoved():
                self._move(event)
            case Paused():
                what = f" of {event.seconds:g} s before batch {event.number}; Ctrl-C ends the rollout"
                line(("PAUSE", "bold"), what)
            case ReturnStarted():
                line(("RETURN", "bold"), f" of {named(event.hosts)}: {event.reason}")
            case StepFinished():
                self._step(event)
            case Progressed():
                self._advance(event)
            case Warned():
                pass

    def _step(self, event: StepFinished) -> None:
        self._finish(event.host, event.step)
        is_one_of_many = self._is_large and event.host and event.result in _QUIET
        if not is_one_of_many or self._verbose:
            where = f"{event.host}: {event.step}" if event.host else event.step
            self._line(where + (f": {event.detail}" if event.detail else ""), event.result)

    def _line(self, text: str, word: str, colour: str = "") -> None:
        style = colour or _COLOURS.get(word, "white")
        self._display.line((f"{word:>11}", style), f"  {text}")

    def _move(self, event: BatchMoved) -> None:
        """Show how far a large batch has come: as a bar, or a line now and then."""
        if not self._is_large:
            return
        bad = f", {event.bad} failed" if event.bad else ""
        if self._display.is_live:
            name = f"batch {event.number}"
            self._bar(("", name), name + bad, event.done, event.of)
        elif event.done * _PORTIONS // event.of > (event.done - 1) * _PORTIONS // event.of:
            self._line(f"{event.done} of {event.of} hosts of batch {event.number}{bad}", "done", "green")
        if event.done == event.of:
            self._finish("", f"batch {event.number}")

    def _advance(self, event: Progressed) -> None:
        key = (event.host, event.step)
        if key not in self._moving and self._is_large and event.host and not self._is_slow(key):
            return
        name = f"{event.host}: {event.step}" if event.host else event.step
        self._bar(key, name, event.done, event.total)

    def _bar(self, key: Key, name: str, done: int, total: int) -> None:
        self._moving.add(key)
        self._display.bar(key, name, done, total)

    def _is_slow(self, key: Key) -> bool:
        """Say whether a host of a large batch has been at a step for so long that it is shown by name."""
        now = time.monotonic()
        return now - self._since.setdefault(key, now) >= _SLOW_S and len(self._moving) <= _MOST_SLOW

    def _finish(self, host: str, step: str) -> None:
        key = (host, step)
        self._since.pop(key, None)
        self._moving.discard(key)
        self._display.drop(key)


def named(hosts: Sequence[str]) -> str:
    """Return hosts by name, many of them in a few words."""
    if len(hosts) <= FEW:
        return ", ".join(hosts)
    return f"{len(hosts):,} hosts, {hosts[0]} to {hosts[-1]}"
