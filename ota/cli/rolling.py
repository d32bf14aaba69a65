"""The loop that `ota deploy` and `ota rollback` share: play after play, the record in the store, the recap, the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TypeAlias

import click

from ota.cli.ends import chosen_hosts, journalled, now, open_store, read_inventory, read_playbook
from ota.cli.options import Target
from ota.cli.session import Session, runtime_for, session
from ota.core.events import PlayStarted, Warned
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host, Inventory
from ota.core.playbook import Play
from ota.errors import ExitCode
from ota.remote.executor import ThreadExecutor
from ota.report.recap import recap, tally
from ota.store import Rolled, Store
from ota.workflows.deploy import Result, roll_out
from ota.workflows.order import Agree, Ends

Job: TypeAlias = Callable[[Host], HostOutcome]
MakeEnds: TypeAlias = Callable[[Agree], Ends]
MakeJob: TypeAlias = Callable[[Play, Sequence[Host], Store, MakeEnds], "tuple[Job, str | None]"]
"""Returns what is done to each host of a play, and the selection that it comes from."""


def roll(
    kind: str,
    playbook: str,
    make_job: MakeJob,
    *,
    check: bool,
    as_json: bool,
    options: dict[str, object],
) -> int:
    """Roll every play of `playbook` out by the jobs that `make_job` makes; print the end and return the exit code.

    `kind` is deploy or rollback; `check` changes nothing; the first play that does not end well is the last.
    """
    target = Target(**options)  # type: ignore[arg-type]
    book = read_playbook(playbook, files=False)
    known = read_inventory(target, playbook)
    entries: list[_Entry] = []
    code = ExitCode.DONE
    with journalled(kind, playbook) as note:
        with open_store() as store, session(target, quiet=as_json, close_on_cancel=False) as here:
            for play in book.plays:
                result, selection = _play(kind, play, known, make_job, here, store, check=check)
                entries.append(
                    _Entry(play=play.name, kind=kind, check=check, selection=selection, result=result)
                )
                code = max(code, _code(result), key=_SEVERITY.index)
                if code is not ExitCode.DONE:
                    break
        note(tally([end for entry in entries for end in entry.result.outcomes]), code)
    _tell(entries, as_json=as_json)
    return code


def _play(
    kind: str, play: Play, known: Inventory, make_job: MakeJob, here: Session, store: Store, *, check: bool
) -> tuple[Result, str | None]:
    hosts = chosen_hosts(known, play.hosts, here.target)
    here.watcher.emit(PlayStarted(play=play.name, hosts=tuple(host.name for host in hosts)))
    stopping = Event()

    def stop() -> None:
        # What is activated already proves itself or goes back; connections are not cut under it.
        if not stopping.is_set():
            stopping.set()
            here.watcher.emit(Warned(message="stopping: hosts that are past their activation come first"))

    def ends(agree: Agree) -> Ends:
        return Ends(
            connect=here.connector(play.model.name, keep_agent=not check),
            emit=here.watcher.emit,
            blob=store.blob,
            runtime_for=runtime_for,
            agree=agree,
            stopping=stopping.is_set,
        )

    job, selection = make_job(play, hosts, store, ends)
    result = roll_out(
        hosts,
        play.deploy,
        job,
        executor=ThreadExecutor(stop),
        emit=here.watcher.emit,
        forks=here.target.forks,
        stop=stop,
    )
    if not check:
        store.save_rollout(_record(kind, play, selection, result))
    return result, selection


def _record(kind: str, play: Play, selection: str | None, result: Result) -> Rolled:
    return Rolled(
        started=now().isoformat(timespec="seconds"),
        kind=kind,
        play=play.name,
        model=play.model.name,
        selection=selection,
        outcomes=result.outcomes,
    )


_SEVERITY = (ExitCode.DONE, ExitCode.HOSTS_UNREACHABLE, ExitCode.HOST_FAILED, ExitCode.INTERRUPTED)


def _code(result: Result) -> ExitCode:
    states = {outcome.state for outcome in result.outcomes}
    if result.interrupted:
        return ExitCode.INTERRUPTED
    if states & {HostState.FAILED, HostState.ROLLED_BACK}:
        return ExitCode.HOST_FAILED
    return ExitCode.HOSTS_UNREACHABLE if HostState.UNREACHABLE in states else ExitCode.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One play's rollout as it is told."""

    play: str
    kind: str
    check: bool
    selection: str | None
    result: Result


def _tell(entries: Sequence[_Entry], *, as_json: bool) -> None:
    from ota.report.document_types import FORMAT, RolloutDocument
    from ota.report.documents import plain, rollout_part

    if as_json:
        parts = [
            rollout_part(
                play=entry.play,
                kind=entry.kind,
                check=entry.check,
                selection=entry.selection,
                stop=entry.result.stop,
                ends=entry.result.outcomes,
            )
            for entry in entries
        ]
        click.echo(json.dumps(plain(RolloutDocument(format=FORMAT, rollouts=parts)), indent=2))
        return
    for entry in entries:
        if entry.result.stop:
            click.echo(click.style("stopped: ", fg="red", bold=True) + entry.result.stop, err=True)
        click.echo("\n" + recap(entry.result.outcomes))
