"""What a person sees while a workflow runs: live progress on a terminal, plain lines when piped, nothing with --json.

Everything here goes to stderr; stdout carries results alone.
"""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

from ota.core.events import (
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


class Watcher:
    """Shows events; a context manager, so that a live display always ends before a result or an error is printed."""

    def __init__(self, *, quiet: bool, verbose: int = 0) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._verbose = verbose
        self._tasks: dict[tuple[str, str], TaskID] = {}
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
                names = ", ".join(event.hosts)
                self.console.print(f"[bold]BATCH[/bold] {event.number} of {event.of}: {escape(names)}")
            case Paused():
                self.console.print(
                    f"[bold]PAUSE[/bold] of {event.seconds:g} s before batch {event.number}; Ctrl-C ends the rollout"
                )
            case ReturnStarted():
                names = ", ".join(event.hosts)
                self.console.print(f"[bold]RETURN[/bold] of {escape(names)}: {escape(event.reason)}")
            case StepFinished():
                self._finish(event.host, event.step)
                where = f"{event.host}: {event.step}" if event.host else event.step
                self._line(where + (f": {event.detail}" if event.detail else ""), event.result)
            case Progressed():
                self._advance(event)
            case Warned():
                pass

    def _line(self, text: str, word: str, colour: str = "") -> None:
        style = colour or _COLOURS.get(word, "white")
        self.console.print(f"[{style}]{word:>11}[/{style}]  {escape(text)}")

    def _advance(self, event: Progressed) -> None:
        key = (event.host, event.step)
        if key not in self._tasks:
            name = f"{event.host}: {event.step}" if event.host else event.step
            self._tasks[key] = self._progress.add_task(name, total=event.total)
        self._progress.update(self._tasks[key], completed=event.done, total=event.total)

    def _finish(self, host: str, step: str) -> None:
        task = self._tasks.pop((host, step), None)
        if task is not None:
            self._progress.remove_task(task)
