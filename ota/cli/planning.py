"""Which release each host shall get, as it was typed: the options of `ota deploy` and `ota export`, and the plan that follows from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ota.errors import UsageError

if TYPE_CHECKING:
    from ota.core.inventory import Host
    from ota.core.playbook import Play
    from ota.store import Store
    from ota.workflows.releases import Plan

F = TypeVar("F", bound=Callable[..., object])


def choice_options(function: F) -> F:
    """Add the options that choose a release."""
    for option in reversed(
        (
            click.option(
                "--selection",
                "selection_id",
                metavar="ID",
                help="Take the winner of this selection, not of the latest.",
            ),
            click.option(
                "--scheme", metavar="NAME", help="Take this candidate of the selection instead of its winner."
            ),
            click.option(
                "--model",
                "model_file",
                type=click.Path(path_type=Path),
                help="Take this .tflite, without a selection.",
            ),
            click.option(
                "--any-board",
                is_flag=True,
                help="Let a signed release go to boards of a model that the selection never measured.",
            ),
        )
    ):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A release as it was typed; `model_file` excludes the two before it, or UsageError."""

    selection_id: str | None
    scheme: str | None
    model_file: Path | None
    any_board: bool

    def __post_init__(self) -> None:
        if self.model_file is not None and (self.selection_id or self.scheme):
            raise UsageError(
                "--model is a release of its own", expected="either --model or --selection/--scheme"
            )

    @property
    def made(self) -> bool:
        """Whether anything was chosen at all."""
        return bool(self.selection_id or self.scheme or self.model_file or self.any_board)

    def plan(
        self,
        play: Play,
        hosts: Sequence[Host],
        store: Store,
        warn: Callable[[str], None],
        *,
        again: bool = False,
        keep: bool = True,
    ) -> Plan:
        """Return the release of each host, issued where the project signs: noted with `keep`, as the newest where `again`; `warn` is told what a person ought to know.

        Raises what `from_selection` and `from_file` raise, and ContentError where the selection was changed after it was signed.
        """
        from ota.cli.keys import project_keyrings, refuse_changed

        if self.model_file is None:
            from ota.workflows.selected import from_selection

            plan = from_selection(play, hosts, store, selection_id=self.selection_id, scheme=self.scheme)
            refuse_changed(store, plan.selection or "", warn)
        else:
            from ota.workflows.releases import from_file

            plan = from_file(play, hosts, store, self.model_file, _sample_shape)
        if not project_keyrings():
            return plan
        from ota.workflows.issuing import issued

        return issued(plan, store, at=int(time.time()), again=again, keep=keep, any_board=self.any_board)


def _sample_shape(content: bytes) -> tuple[int, ...]:
    from ota.quantize.flatbuffer import read_network

    return read_network(content).sample_shape
