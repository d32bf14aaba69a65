"""`ota deploy` and `ota rollback`: one batch loop each, a recap at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ota.cli.ends import chosen_hosts, journalled, now, open_store, read_inventory, read_playbook
from ota.cli.options import Target, check_option, json_option, playbook_argument, target_options
from ota.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ota.cli.session import Session
    from ota.core.host_state import HostOutcome
    from ota.core.inventory import Host, Inventory
    from ota.core.playbook import Play
    from ota.store import Store
    from ota.workflows.deploy import Result
    from ota.workflows.order import Ends

Job = Callable[["Host"], "HostOutcome"]


@click.command(
    epilog="Examples: ota deploy;  ota deploy --check;  ota deploy --limit canaries --selection 20260131;  ota deploy --model my.tflite"
)
@playbook_argument
@click.option(
    "--selection",
    "selection_id",
    metavar="ID",
    help="Deploy the winner of this selection, not of the latest.",
)
@click.option(
    "--scheme", metavar="NAME", help="Deploy this candidate of the selection instead of its winner."
)
@click.option(
    "--model", "model_file", type=click.Path(path_type=Path), help="Deploy this .tflite, without a selection."
)
@check_option
@json_option
@target_options
def deploy(
    *,
    playbook: str,
    selection_id: str | None,
    scheme: str | None,
    model_file: Path | None,
    check: bool,
    as_json: bool,
    **options: object,
) -> int:
    """Roll the selected model out in batches: staged, verified, tried on the device, activated, checked and read back; or returned."""
    from ota.analysis.agreement import agreement
    from ota.workflows.deploy_host import check_host, deploy_host
    from ota.workflows.order import Order
    from ota.workflows.releases import Agreeing, from_file, from_selection

    if model_file is not None and (selection_id or scheme):
        raise UsageError("--model is a release of its own", expected="either --model or --selection/--scheme")

    def job(
        play: Play, hosts: Sequence[Host], store: Store, ends: Callable[[Agreeing], Ends]
    ) -> tuple[Job, str | None]:
        plan = (
            from_selection(play, hosts, store, selection_id=selection_id, scheme=scheme)
            if model_file is None
            else from_file(play, hosts, store, model_file, _sample_shape)
        )
        agree = Agreeing(store, plan.probe, lambda a, b, same: agreement(a, b, same_runtime=same))
        there = ends(agree)
        one = check_host if check else deploy_host

        def run(host: Host) -> HostOutcome:
            order = Order(
                release=plan.releases[host.name], spec=play.deploy, probe=plan.probe, threads=plan.threads
            )
            return one(host, order, there)

        return run, plan.selection

    return _roll("deploy", playbook, job, check=check, as_json=as_json, options=options)


@click.command(
    epilog="Examples: ota rollback;  ota rollback --limit camera-3;  ota rollback --to 3f2a9c0d1e4b5a67"
)
@playbook_argument
@click.option(
    "--to",
    metavar="ID",
    help="A release that is still on the devices (ota status --json lists them), or the unique beginning of its id.",
)
@check_option
@json_option
@target_options
def rollback(*, playbook: str, to: str | None, check: bool, as_json: bool, **options: object) -> int:
    """Put every host back to its previous release, or to a named one, without sending the model again."""
    from ota.workflows.order import Return
    from ota.workflows.releases import Agreeing
    from ota.workflows.rollback_host import check_rollback_host, rollback_host

    def job(
        play: Play, _hosts: Sequence[Host], _store: Store, ends: Callable[[Agreeing], Ends]
    ) -> tuple[Job, str | None]:
        there = ends(lambda _digest, _host, _runtime, _outputs: "")  # type: ignore[arg-type]
        order = Return(model=play.model.name, spec=play.deploy, to=to)
        one = check_rollback_host if check else rollback_host
        return lambda host: one(host, order, there), None

    return _roll("rollback", playbook, job, check=check, as_json=as_json, options=options)


def _roll(
    kind: str,
    playbook: str,
    job: Callable[[Play, Sequence[Host], Store, Callable[[object], Ends]], tuple[Job, str | None]],
    *,
    check: bool,
    as_json: bool,
    options: dict[str, object],
) -> int:
    from ota.cli.session import session
    from ota.report.recap import tally

    target = Target(**options)  # type: ignore[arg-type]
    book = read_playbook(playbook, files=False)
    known = read_inventory(target, playbook)
    entries: list[_Entry] = []
    code = ExitCode.DONE
    with journalled(kind, playbook) as note:
        with open_store() as store, session(target, quiet=as_json, close_on_cancel=False) as here:
            for play in book.plays:
                result, selection = _play(kind, play, known, job, here, store, check=check)
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
    kind: str,
    play: Play,
    known: Inventory,
    job: Callable[[Play, Sequence[Host], Store, Callable[[object], Ends]], tuple[Job, str | None]],
    here: Session,
    store: Store,
    *,
    check: bool,
) -> tuple[Result, str | None]:
    from threading import Event

    from ota.cli.session import runtime_for
    from ota.core.events import PlayStarted, Warned
    from ota.remote.executor import ThreadExecutor
    from ota.store import Rolled
    from ota.workflows.deploy import roll_out
    from ota.workflows.order import Ends

    stopping = Event()
    hosts = chosen_hosts(known, play.hosts, here.target)
    here.watcher.emit(PlayStarted(play=play.name, hosts=tuple(host.name for host in hosts)))

    def ends(agree: object) -> Ends:
        return Ends(
            connect=here.connector(play.model.name, keep_agent=not check),
            emit=here.watcher.emit,
            blob=store.blob,
            runtime_for=runtime_for,
            agree=agree,  # type: ignore[arg-type]
            stopping=stopping.is_set,
        )

    one, selection = job(play, hosts, store, ends)

    def stop() -> None:
        # What is activated already proves itself or goes back; connections are not cut under it.
        if not stopping.is_set():
            stopping.set()
            here.watcher.emit(Warned(message="stopping: hosts that are past their activation come first"))

    result = roll_out(
        hosts,
        play.deploy,
        one,
        executor=ThreadExecutor(stop),
        emit=here.watcher.emit,
        forks=here.target.forks,
        stop=stop,
    )
    if not check:
        store.save_rollout(
            Rolled(
                started=now().isoformat(timespec="seconds"),
                kind=kind,
                play=play.name,
                model=play.model.name,
                selection=selection,
                outcomes=result.outcomes,
            )
        )
    return result, selection


def _sample_shape(content: bytes) -> tuple[int, ...]:
    from ota.quantize.flatbuffer import read_network

    return read_network(content).sample_shape


_SEVERITY = (ExitCode.DONE, ExitCode.HOSTS_UNREACHABLE, ExitCode.HOST_FAILED, ExitCode.INTERRUPTED)


def _code(result: Result) -> ExitCode:
    from ota.core.host_state import HostState

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
    from ota.report.recap import recap

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
