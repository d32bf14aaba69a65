"""What a person sees while a workflow runs: live progress on a terminal, plain lines when piped, nothing with --json.

Everything here goes to stderr; stdout carries results alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, Task, TaskID, TextColumn

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


class Watcher:
    """Shows events; a context manager, so that a live display always ends before a result or an error is printed."""

    def __init__(self, *, quiet: bool, verbose: int = 0) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._verbose = verbose
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._since: dict[tuple[str, str], float] = {}
        self._is_large = False
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )

    def __enter__(self) -> Watcher:  # noqa: PYI034 - Self is not in 3.10
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def bars(self) -> Sequence[Task]:
        """What moves on the terminal now."""
        return self._progress.tasks

    def emit(self, event: Event) -> None:
        """Show one event; may be called from any thread."""
        if isinstance(event, Warned):
            self._line(f"{event.host}: {event.message}" if event.host else event.message, "warning", "yellow")
        elif not self._quiet:
            self._show(event)

    def trace(self, host: str, text: str) -> None:
        """Show one line of the dialogue with a device, where -v asks for it."""
        if self._verbose and not self._quiet:
            self.console.print(f"[dim]{escape(host)}: {escape(text)}[/dim]")

    def _show(self, event: Event) -> None:
        match event:
            case PlayStarted():
                self.console.print(
                    f"\n[bold]PLAY[/bold] {escape(event.play)} on {len(event.hosts)} host{'s' * (len(event.hosts) != 1)}"
                )
            case BatchStarted():
                self._is_large = len(event.hosts) > FEW
                self.console.print(
                    f"[bold]BATCH[/bold] {event.number} of {event.of}: {escape(named(event.hosts))}"
                )
            case BatchMoved():
                self._move(event)
            case Paused():
                self.console.print(
                    f"[bold]PAUSE[/bold] of {event.seconds:g} s before batch {event.number}; Ctrl-C ends the rollout"
                )
            case ReturnStarted():
                self.console.print(
                    f"[bold]RETURN[/bold] of {escape(named(event.hosts))}: {escape(event.reason)}"
                )
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
        self.console.print(f"[{style}]{word:>11}[/{style}]  {escape(text)}")

    def _move(self, event: BatchMoved) -> None:
        """Show how far a large batch has come: as a bar, or a line now and then."""
        if not self._is_large:
            return
        bad = f", {event.bad} failed" if event.bad else ""
        if self.console.is_terminal:
            key = ("", f"batch {event.number}")
            if key not in self._tasks:
                self._tasks[key] = self._progress.add_task(key[1], total=event.of)
            self._progress.update(self._tasks[key], completed=event.done, description=key[1] + bad)
        elif event.done * _PORTIONS // event.of > (event.done - 1) * _PORTIONS // event.of:
            self._line(f"{event.done} of {event.of} hosts of batch {event.number}{bad}", "done", "green")
        if event.done == event.of:
            self._finish("", f"batch {event.number}")

    def _advance(self, event: Progressed) -> None:
        key = (event.host, event.step)
        if key not in self._tasks:
            if self._is_large and event.host and not self._is_slow(key):
                return
            name = f"{event.host}: {event.step}" if event.host else event.step
            self._tasks[key] = self._progress.add_task(name, total=event.total)
        self._progress.update(self._tasks[key], completed=event.done, total=event.total)

    def _is_slow(self, key: tuple[str, str]) -> bool:
        """Say whether a host of a large batch has been at a step for so long that it is shown by name."""
        now = time.monotonic()
        return now - self._since.setdefault(key, now) >= _SLOW_S and len(self._tasks) <= _MOST_SLOW

    def _finish(self, host: str, step: str) -> None:
        self._since.pop((host, step), None)
        task = self._tasks.pop((host, step), None)
        if task is not None:
            self._progress.remove_task(task)


def named(hosts: Sequence[str]) -> str:
    """Return hosts by name, many of them in a few words."""
    if len(hosts) <= FEW:
        return ", ".join(hosts)
    return f"{len(hosts):,} hosts, {hosts[0]} to {hosts[-1]}"
