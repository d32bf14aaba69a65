"""How a terminal shows a run: coloured lines, and bars that move below them. It needs rich, so it is loaded only where there is a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from ota.cli.console import Key, Part


class Terminal:
    """A Display on stderr; without `moves` there are lines alone."""

    def __init__(self, *, moves: bool) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._tasks: dict[Key, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            console=self._console,
            transient=True,
            disable=not moves or not self.is_live,
        )

    @property
    def is_live(self) -> bool:
        """Whether rich takes it for a terminal."""
        return self._console.is_terminal

    @property
    def bars(self) -> tuple[str, ...]:
        """The names of what moves now."""
        return tuple(task.description for task in self._progress.tasks)

    def start(self) -> None:
        """Begin to show what moves."""
        self._progress.start()

    def stop(self) -> None:
        """Show no more of it: what is printed next stands alone."""
        self._progress.stop()

    def line(self, *parts: Part) -> None:
        """Print a line above the bars."""
        self._console.print(Text.assemble(*parts))

    def bar(self, key: Key, name: str, done: int, total: int) -> None:
        """Show how far something has come."""
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[key], description=name, completed=done, total=total)

    def drop(self, key: Key) -> None:
        """Take a bar away, where there is one."""
        task = self._tasks.pop(key, None)
        if task is not None:
            self._progress.remove_task(task)
