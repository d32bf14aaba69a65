"""The loop that `ota deploy` and `ota rollback` share: play after play, the record in the store, the recap, the exit code."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, TypeAlias

import click

from ota.cli import sites as dask_sites
from ota.cli.console import FEW
from ota.cli.ends import chosen_hosts, journalled, now, open_store, read_inventory, read_playbook, share
from ota.cli.options import Remote, Target
from ota.cli.session import Session, runtime_for, session
from ota.core.events import PlayStarted, Warned
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host, Inventory
from ota.core.playbook import Play
from ota.core.release import Digest
from ota.core.rollout import Phase, batches_of
from ota.core.rollout_log import Begun, HostFound, Record, Standing
from ota.deltas.encodings import Encodings
from ota.errors import ExitCode
from ota.remote.executor import ThreadExecutor
from ota.report.recap import recap, tally
from ota.store import Rolled, Store
from ota.store.journals import Journal
from ota.workflows.crossings import Crossings
from ota.workflows.deploy import Frame, Result, WayHome, roll_out
from ota.workflows.heads import JournalMemory
from ota.workflows.journalling import begun_of, hosts_of, noting, play_of, wanted_of
from ota.workflows.order import Agree, Elsewhere, Ends
from ota.workflows.releases import Plan

if TYPE_CHECKING:
    from ota.workflows.sites import Sites

Job: TypeAlias = Callable[[Host], HostOutcome]
MakeEnds: TypeAlias = Callable[[Agree], Ends]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is done to each host of a play; with a `plan` it is journalled, and `home` is the way back after a stop."""

    job: Job
    plan: Plan | None = None
    home: WayHome | None = None


MakeWork: TypeAlias = Callable[[Play, Sequence[Host], Store, MakeEnds, "Begun | None"], Work]
"""Returns a play's work; of a rollout that is taken up, where that is given."""


def roll(
    kind: str,
    playbook: str,
    make_work: MakeWork,
    *,
    check: bool,
    as_json: bool,
    options: dict[str, object],
    resume: str | None = None,
) -> int:
    """Roll every play of `playbook` out by the work that `make_work` makes; print the end and return the exit code.

    `kind` is deploy or rollback; `check` changes nothing; the first play that does not end well is the last. `resume` names an unfinished rollout,
    empty: the newest; its play alone is rolled out then.
    """
    remote = Remote.of(options)
    target = Target(**options)  # type: ignore[arg-type]
    dask_sites.check(remote, target)
    book = read_playbook(playbook, files=False)
    known = read_inventory(target, playbook)
    entries: list[_Entry] = []
    code = ExitCode.DONE
    with journalled(kind, playbook) as note:
        with (
            open_store() as store,
            session(target, quiet=as_json, close_on_cancel=False) as here,
            dask_sites.sites_of(remote, here.watcher.emit) as sites,
        ):
            journal = None if resume is None else store.journals.take_up(resume)
            plays = book.plays if journal is None else (play_of(_begun(journal), book.plays, playbook),)
            rolling = _Rolling(kind, known, make_work, here, store, sites, check=check)
            for play in plays:
                result, selection = rolling.play(play, journal)
                entries.append(
                    _Entry(play=play.name, kind=kind, check=check, selection=selection, result=result)
                )
                code = max(code, _code(result), key=_SEVERITY.index)
                if code is not ExitCode.DONE:
                    break
        note(tally([end for entry in entries for end in entry.result.outcomes]), code)
    _tell(entries, as_json=as_json)
    return code


class _Rolling:
    """What every play of one command is rolled out with."""

    def __init__(
        self,
        kind: str,
        known: Inventory,
        make_work: MakeWork,
        here: Session,
        store: Store,
        sites: Sites | None,
        *,
        check: bool,
    ) -> None:
        self._kind = kind
        self._known = known
        self._make_work = make_work
        self._here = here
        self._store = store
        self._sites = sites
        self._check = check
        self._stopping = Event()
        self._journal: Journal | None = None
        self._encodings = Encodings(self._store.blob, self._store)
        self._crossings = Crossings()

    def play(self, play: Play, taken_up: Journal | None) -> tuple[Result, str | None]:
        """Roll one play out, or take its rollout up, and keep how it ended."""
        self._stopping = Event()
        self._journal = taken_up
        begun = None if taken_up is None else _begun(taken_up)
        hosts = self._hosts(play, begun)
        if self._sites is not None:
            self._sites.refuse_passwords(hosts)
        names = tuple(host.name for host in hosts)
        self._here.watcher.emit(PlayStarted(play=play.name, hosts=names))
        started = _now()
        share(self._store, play, lambda why: self._here.watcher.emit(Warned(message=why)))
        self._crossings = Crossings(self._encodings, self._store.measured)
        work = self._make_work(play, hosts, self._store, partial(self._ends, play), begun)
        standing = None if taken_up is None else taken_up.standing
        if work.plan is not None and not self._check and self._journal is None:
            self._warn(play)
            self._journal = self._store.journals.begin(begun_of(play, hosts, work.plan, started))
        try:
            if self._sites is None and not self._check:
                self._expect(play, names, work.plan)
            result = self._roll_out(play, hosts, work, standing)
            self._crossings.keep()
            if not self._check:
                self._keep(play, work, result, started)
        finally:
            if self._journal is not None:
                self._journal.close()
        return result, work.plan.selection if work.plan else None

    def _expect(self, play: Play, hosts: Sequence[str], plan: Plan | None) -> None:
        """Say who needs which model, and how many of them at once."""
        if plan is not None:
            wanted = Counter(release.model.digest for release in plan.releases.values())
            most = max(map(len, batches_of(hosts, play.deploy.serial)), default=1)
            self._crossings.expect(wanted, min(most, self._here.target.forks))
            models = {host: plan.releases[host].model for host in hosts if host in plan.releases}
            self._crossings.begin(models, partial(self._last_read_back, play.model.name))

    def _last_read_back(self, model: str) -> dict[str, Digest]:
        """Return what the last rollout of a model found on its hosts in the end."""
        last = next((one for one in self._store.rollouts(limit=5) if one.model == model), None)
        ends = () if last is None else last.outcomes
        return {end.host: end.digest for end in ends if end.digest is not None}

    def _roll_out(self, play: Play, hosts: Sequence[Host], work: Work, standing: Standing | None) -> Result:
        spec = replace(play.deploy, pause_s=0.0) if self._check else play.deploy
        wanted = () if self._check or work.plan is None else wanted_of(hosts, work.plan.releases)
        home = None if self._check else work.home
        return roll_out(
            hosts,
            spec,
            work.job,
            executor=ThreadExecutor(self._stop),
            emit=self._here.watcher.emit,
            forks=self._here.target.forks,
            stop=self._stop,
            frame=Frame(home=home, wanted=wanted, note=self._note, standing=standing),
        )

    def _hosts(self, play: Play, begun: Begun | None) -> tuple[Host, ...]:
        if begun is None:
            return chosen_hosts(self._known, play.hosts, self._here.target)
        return hosts_of(begun, self._known)

    def _ends(self, play: Play, agree: Agree) -> Ends:
        journalled = self._kind == "deploy" and not self._check
        found = () if self._journal is None else self._journal.standing.found
        return Ends(
            connect=self._here.connector(play.model.name, keep_agent=not self._check),
            emit=self._here.watcher.emit,
            blob=self._store.blob,
            crossings=self._crossings,
            runtime_for=runtime_for,
            agree=agree,
            stopping=self._stopping.is_set,
            met=noting(self._note, found) if journalled else lambda _host, _slot: None,
            journals=None if self._check else JournalMemory(heads=self._store.heads, now=_now),
            elsewhere=self._elsewhere(self._note if journalled else None, found),
        )

    def _elsewhere(
        self, note: Callable[[HostFound], None] | None, found: Iterable[HostFound]
    ) -> Elsewhere | None:
        if self._sites is None:
            return None
        return self._sites.for_play(note=note, met=found, heads=self._store.heads, keeps=not self._check)

    def _note(self, record: Record) -> None:
        if self._journal is not None:
            self._journal.note(record)

    def _stop(self) -> None:
        # What is activated already proves itself or goes back; connections are not cut under it.
        if not self._stopping.is_set():
            self._stopping.set()
            message = "stopping: hosts that are past their activation come first"
            self._here.watcher.emit(Warned(message=message))

    def _warn(self, play: Play) -> None:
        for name, standing in self._store.journals.unfinished():
            if standing.begun.play == play.name:
                message = f"the rollout {name} of this play has not ended: ota deploy --resume takes it up; this one begins anew"
                self._here.watcher.emit(Warned(message=message))

    def _keep(self, play: Play, work: Work, result: Result, started: str) -> None:
        journal = self._journal
        rolled = Rolled(
            started=started if journal is None else _begun(journal).started,
            kind=self._kind,
            play=play.name,
            model=play.model.name,
            selection=work.plan.selection if work.plan else None,
            outcomes=result.outcomes,
        )
        if journal is None:
            self._store.save_rollout(rolled)
        elif journal.standing.rollout.phase is not Phase.ENDED:
            self._store.save_rollout(rolled, journal.id)
        else:
            self._supersede(journal)
            self._store.journals.end(journal, result.stop)

    def _supersede(self, journal: Journal) -> None:
        """End the older rollouts of the same play that this one has done over: their hosts are among its own."""
        begun = _begun(journal)
        hosts = {one.host for one in begun.wanted}
        for name, standing in self._store.journals.unfinished():
            older = standing.begun.play == begun.play and {one.host for one in standing.begun.wanted} <= hosts
            if older:
                self._store.journals.end(
                    self._store.journals.take_up(name), f"the rollout {journal.id} took its place"
                )


def _now() -> str:
    return now().isoformat(timespec="seconds")


def _begun(journal: Journal) -> Begun:
    return journal.standing.begun


_SEVERITY = (ExitCode.DONE, ExitCode.HOSTS_UNREACHABLE, ExitCode.HOST_FAILED, ExitCode.INTERRUPTED)


def _code(result: Result) -> ExitCode:
    states = {outcome.state for outcome in result.outcomes}
    if result.interrupted:
        return ExitCode.INTERRUPTED
    if states & {HostState.FAILED, HostState.ROLLED_BACK}:
        return ExitCode.HOST_FAILED
    out_of_reach = states & {HostState.UNREACHABLE, HostState.UNKNOWN}
    return ExitCode.HOSTS_UNREACHABLE if out_of_reach else ExitCode.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One play's rollout as it is told."""

    play: str
    kind: str
    check: bool
    selection: str | None
    result: Result


def _tell(entries: Sequence[_Entry], *, as_json: bool) -> None:
    if as_json:
        from ota.report.document_types import FORMAT, RolloutDocument
        from ota.report.documents import plain, rollout_part

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
        # Scripts read every host's line; a person reads those of a large fleet that are not as they should be.
        most = FEW if sys.stdout.isatty() else None
        click.echo("\n" + recap(entry.result.outcomes, most=most))
