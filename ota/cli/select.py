"""`ota select`: quantize, measure on the devices, choose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ota.cli.ends import chosen_hosts, journalled, now, open_store, read_inventory, read_playbook, share
from ota.cli.options import Target, json_option, keys_option, playbook_argument, target_options
from ota.errors import ExitCode, OtaError, UsageError

if TYPE_CHECKING:
    from ota.cli.session import Session
    from ota.core.inventory import Host
    from ota.core.playbook import Play, SelectSpec
    from ota.core.samples import SampleLog
    from ota.core.selection import Selection
    from ota.core.vouched import Vouched
    from ota.signing.sshsig import Signer
    from ota.store import Store
    from ota.workflows.select import Ends


@click.command(
    epilog="Examples: ota select;  ota select --inventory inventory.yaml playbooks/site.yaml;  ota select --limit 'sorters[0]' --json"
)
@playbook_argument
@click.option(
    "--fresh",
    is_flag=True,
    help="Measure anew what was measured before; without it only what is new is measured.",
)
@keys_option
@json_option
@target_options
def select(*, playbook: str, fresh: bool, folder: Path, as_json: bool, **options: object) -> int:
    """Quantize the model under every scheme, measure each candidate on the devices and choose the one with the least L."""
    from ota.cli.keys import record_signer
    from ota.cli.session import session
    from ota.core.events import Warned
    from ota.report.document_types import FORMAT
    from ota.report.documents import plain
    from ota.report.select_document import select_part
    from ota.report.select_types import SelectDocument
    from ota.report.selection_view import selection_view
    from ota.report.tables import show

    target = Target(**options)  # type: ignore[arg-type]
    book = read_playbook(playbook)
    known = read_inventory(target, playbook)
    plays = [(play, play.select) for play in book.plays if play.select is not None]
    if not plays:
        raise UsageError("no play of the playbook selects", where=playbook, hint="give one a select: section")
    entries: list[_Entry] = []
    with journalled("select", playbook) as note:
        with open_store() as store, session(target, quiet=as_json) as here:
            # Hours may pass until something is to be signed: a passphrase is asked for now.
            signer = record_signer(folder, lambda why: here.watcher.emit(Warned(message=why)))
            for play, spec in plays:
                share(store, play, lambda why: here.watcher.emit(Warned(message=why)))
                hosts = chosen_hosts(known, play.hosts, target)
                measured = _measured(hosts, known.select(spec.hosts or play.hosts))
                entry = _select(play, spec, hosts, measured, here, store, fresh=fresh)
                entries.append(_signed(entry, signer, store, here))
                store.publish(entry.selection)
        code = max((_code(entry) for entry in entries), key=_SEVERITY.index)
        note("; ".join(_summary(entry.selection) for entry in entries), code)
    if as_json:
        parts = [
            part
            for entry in entries
            for part in select_part(entry.selection, entry.log, entry.errors, entry.vouched)
        ]
        click.echo(json.dumps(plain(SelectDocument(format=FORMAT, selections=parts)), indent=2))
    else:
        for entry in entries:
            show(selection_view(entry.selection))
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One play's selection, the log that it rests on, and the hosts that contributed nothing."""

    selection: Selection
    log: SampleLog
    errors: tuple[tuple[str, OtaError], ...]
    vouched: Vouched | None = None


_SEVERITY = (
    ExitCode.DONE,
    ExitCode.HOSTS_UNREACHABLE,
    ExitCode.HOST_FAILED,
    ExitCode.UNRELIABLE,
    ExitCode.NO_FEASIBLE_CANDIDATE,
)


def _measured(hosts: Sequence[Host], wanted: Sequence[Host]) -> tuple[str, ...]:
    names = {host.name for host in wanted}
    chosen = tuple(host.name for host in hosts if host.name in names)
    if not chosen:
        raise UsageError("no host is left to measure on", hint="select.hosts and --limit have none in common")
    return chosen


def _select(
    play: Play,
    spec: SelectSpec,
    hosts: Sequence[Host],
    measured: Sequence[str],
    here: Session,
    store: Store,
    *,
    fresh: bool,
) -> _Entry:
    from ota.core.events import PlayStarted
    from ota.workflows.choose import Finalists, choose, log_of, verdicts_of
    from ota.workflows.host_session import HostSession
    from ota.workflows.prepare import Prepared, prepare
    from ota.workflows.select import Plan, measure_fleet

    emit = here.watcher.emit
    prepared: list[Prepared] = []

    def plan() -> Plan:
        prepared.append(prepare(play, spec, cache=store, keep=store.put_blob, emit=emit))
        return prepared[0].plan

    emit(PlayStarted(play=play.name, hosts=tuple(host.name for host in hosts)))
    found = measure_fleet(
        hosts,
        measured,
        plan,
        HostSession,
        Finalists(hosts=hosts, spec=spec, prepared=lambda: prepared[0]),
        _ends(play, here, store, fresh=fresh),
        per_class=spec.hosts_per_class,
        forks=here.target.forks,
    )
    errors = tuple((result.host.name, result.error) for result in found.results if result.error is not None)
    if not prepared and errors:
        raise errors[0][1]
    log = log_of(hosts, spec, prepared[0], found)
    scores = {result.host.name: result.scores for result in found.results}
    verdicts = verdicts_of(log, scores, spec.objective)
    selection = choose(play, spec, prepared[0], log, verdicts, store, at=now())
    return _Entry(selection=selection, log=log, errors=errors)


def _signed(entry: _Entry, signer: Signer | None, store: Store, here: Session) -> _Entry:
    """Return the selection with its signature; one that cannot be signed after all is worth no less than its measurements."""
    from ota.cli.keys import sign_selection, vouched_of
    from ota.core.events import StepFinished, Warned

    identity = entry.selection.id
    if signer is not None:
        try:
            sign_selection(store, identity, signer)
        except OtaError as error:
            here.watcher.emit(Warned(message=f"the selection {identity} is not signed: {error.reason}"))
        else:
            detail = f"{identity}, by {signer.key.name}"
            here.watcher.emit(StepFinished(host="", step="sign", result="ok", detail=detail))
    return replace(entry, vouched=vouched_of(store, identity))


def _ends(play: Play, here: Session, store: Store, *, fresh: bool) -> Ends:
    from ota.cli.session import runtimes_for
    from ota.deltas.encodings import Encodings
    from ota.workflows.crossings import Crossings
    from ota.workflows.select import Ends

    return Ends(
        connect=here.connector(play.model.name),
        executor=here.executor,
        kept=store.measured,
        blob=store.blob,
        put_blob=store.put_blob,
        emit=here.watcher.emit,
        runtimes_for=runtimes_for,
        now=lambda: now().isoformat(timespec="milliseconds"),
        fresh=fresh,
        crossings=Crossings(Encodings(store.blob, store), store.measured),
    )


def _code(entry: _Entry) -> ExitCode:
    from ota.cli.session import exit_code
    from ota.core.verdict import Answer

    answers = {verdict.answer for verdict in entry.selection.verdicts}
    if Answer.NONE in answers:
        return ExitCode.NO_FEASIBLE_CANDIDATE
    if Answer.UNRELIABLE in answers:
        return ExitCode.UNRELIABLE
    return exit_code([error for _, error in entry.errors])


def _summary(selection: Selection) -> str:
    winners = ", ".join(
        f"{verdict.answer.value} {verdict.winner.scheme}" if verdict.winner else verdict.answer.value
        for verdict in selection.verdicts
    )
    return f"{selection.id}: {winners}"
