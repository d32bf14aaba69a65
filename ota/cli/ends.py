"""Builds the ends that workflows are given: hosts, connections, the store, the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ota.cli.options import DEFAULT_INVENTORY, DEFAULT_PLAYBOOK, Target
from ota.errors import ExitCode, MissingFileError, OtaError

if TYPE_CHECKING:
    from ota.core.inventory import Host, Inventory
    from ota.core.playbook import Play, Playbook
    from ota.store import Store

STORE_FOLDER = Path(".ota")


def read_inventory(target: Target, playbook: str | None = None) -> Inventory:
    """Return the inventory that the options name; variables beside a `playbook` count too, as in Ansible.

    Raises what `load_inventory` raises.
    """
    from ota.formats.inventory import load_inventory, parse_extra_vars

    sources = target.inventory or (DEFAULT_INVENTORY,)
    if not target.inventory and not Path(DEFAULT_INVENTORY).exists():
        raise MissingFileError(
            "there is no inventory here",
            where=DEFAULT_INVENTORY,
            expected="an Ansible inventory in the current folder",
            hint="name one with -i, or let 'ota init' write one",
        )
    folder = None if playbook is None else Path(playbook).parent
    inventory = load_inventory(
        sources, extra_vars=parse_extra_vars(target.extra_vars), playbook_folder=folder
    )
    for warning in inventory.warnings:
        click.echo(click.style("warning: ", fg="yellow") + warning.render(), err=True)
    return inventory


def read_playbook(path: str, *, files: bool = True) -> Playbook:
    """Return the playbook at `path`, and see that the `files` it names are there; raises what `load_playbook` raises."""
    from ota.store.playbooks import KeptPlaybooks

    if path == DEFAULT_PLAYBOOK and not Path(path).exists():
        raise MissingFileError(
            "there is no playbook here",
            where=path,
            hint="name one as the argument, or let 'ota init' write one",
        )
    kept = KeptPlaybooks(STORE_FOLDER / "playbooks")
    book = kept.get(Path(path))
    if book is None or (
        files and not all(Path(one).exists() for play in book.plays for one in play.files.values())
    ):
        from ota.formats.playbook import load_playbook

        book = load_playbook(Path(path), files=files)
        kept.put(Path(path), book)
    return book


def chosen_hosts(inventory: Inventory, pattern: str, target: Target) -> tuple[Host, ...]:
    """Return the hosts that match `pattern` and --limit, in the inventory's order; UsageError when none does."""
    from ota.formats.inventory import limit_terms

    limit = None if target.limit is None else limit_terms(target.limit)
    return inventory.select(pattern, limit=limit, allow_unmatched=target.allow_unmatched)


@contextmanager
def open_store() -> Iterator[Store]:
    """Open the controller's store in the current folder."""
    from ota.store import Store

    with Store.open(STORE_FOLDER) as store:
        yield store


def share(store: Store, play: Play, warn: Callable[[str], None]) -> None:
    """Stand the store before the one that a play shares, where it does; UsageError where that cannot be.

    `warn` hears what is wrong with it meanwhile.
    """
    if not play.store:
        store.share(None)
        return
    from ota.store.shared import SharedStore

    store.share(SharedStore.open(play.store, warn), play=play.name, model=play.model.name)


def now() -> datetime:
    """Return the time, UTC."""
    return datetime.now(timezone.utc)


@contextmanager
def journalled(command: str, subject: str) -> Iterator[Callable[[str, int], None]]:
    """Note the run of a command in the store, however it ends; the yielded function says with what."""
    from ota.store import Run

    started = now().isoformat(timespec="seconds")
    ended: list[tuple[str, int]] = []
    try:
        yield lambda summary, code: ended.append((summary, code))
    except BaseException as error:
        problem, code = (
            (error.problem, error.exit_code)
            if isinstance(error, OtaError)
            else (type(error).__name__, ExitCode.INTERRUPTED)
        )
        ended.append(("".join(problem.splitlines()[:1]), code))
        raise
    finally:
        with suppress(OtaError), open_store() as store:
            said, result = ended[-1] if ended else ("", ExitCode.DONE)
            store.save_run(
                Run(started=started, command=f"{command} {subject}", summary=said, exit_code=int(result))
            )
