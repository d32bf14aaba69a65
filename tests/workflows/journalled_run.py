"""A controller that rolls out on real agents and kills itself: `python -m tests.workflows.journalled_run FOLDER POLICY KILL_AFTER begin|resume`.

It is killed by SIGKILL behind record number KILL_AFTER (0: never). The hosts are `a` and `b`, one a batch; `b` is unwell where FOLDER/unwell is. Where
FOLDER/deadly is, the command behind the activation kills the controller once. Ends by printing the number of records and each host's end as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from ota.core.host_state import HostOutcome
from ota.core.inventory import Host
from ota.core.playbook import BatchSize, DeploySpec, HealthCheck, ModelSpec, OnFailure, Play
from ota.core.rollout_log import Ended, Record
from ota.remote.executor import ThreadExecutor
from ota.store import Store
from ota.store.journals import Journal
from ota.workflows.deploy import Frame, Result, roll_out
from ota.workflows.deploy_host import deploy_host
from ota.workflows.journalling import begun_of, noting, plan_of, wanted_of
from ota.workflows.order import Order, Return
from ota.workflows.releases import Plan
from ota.workflows.rollback_host import rollback_host
from tests.workflows.conftest import NEW, Bench

HOSTS = ("a", "b")


def play_in(folder: Path, policy: OnFailure) -> Play:
    """Return the play that is rolled out."""
    pid, once = folder / "controller.pid", folder / "once"
    deadly = f"test ! -e {folder}/deadly || test -e {once} || {{ touch {once}; kill -9 $(cat {pid}); }}"
    well = f"test ! -e {folder}/unwell || test $(basename $PWD) = a"
    spec = DeploySpec(
        serial=(BatchSize(count=1),),
        max_fail_percentage=0,
        on_failure=policy,
        after=(deadly,),
        health_check=HealthCheck(command=well, retries=0),
    )
    return Play(name="p", hosts="all", model=ModelSpec(name="sorter", source=folder / "m"), deploy=spec)


class Controller:
    """One run of a rollout."""

    def __init__(self, folder: Path, policy: OnFailure, kill_after: int) -> None:
        self.fleet = Bench(folder / "devices")
        self.play = play_in(folder, policy)
        self.store = Store.open(folder / ".ota")
        self.kill_after = kill_after
        self.records = 0
        (folder / "controller.pid").write_text(str(os.getpid()))

    def begin(self) -> Journal:
        """Begin a rollout of the new model."""
        hosts = [self.fleet.host(name) for name in HOSTS]
        release = self.fleet.release(NEW)
        plan = Plan(releases=dict.fromkeys(HOSTS, release), probe=None, selection=None)
        journal = self.store.journals.begin(begun_of(self.play, hosts, plan, "2026-01-31T10:00:00+00:00"))
        self._count()
        return journal

    def carry_on(self, journal: Journal, *, again: bool) -> Result:
        """Roll out to the end, and fold the journal."""
        plan = plan_of(journal.standing.begun)
        hosts = [self.fleet.host(name) for name in HOSTS]

        def note(record: Record) -> None:
            journal.note(record)
            self._count()

        ends = self.fleet.ends(met=noting(note, journal.standing.found))

        def job(host: Host) -> HostOutcome:
            order = Order(release=plan.releases[host.name], spec=self.play.deploy, probe=None)
            return deploy_host(host, order, ends)

        def home(host: Host, release: str) -> HostOutcome:
            return rollback_host(host, Return(model="sorter", spec=self.play.deploy, to=release), ends)

        frame = Frame(
            home=home,
            wanted=wanted_of(hosts, plan.releases),
            note=note,
            standing=journal.standing if again else None,
        )
        result = roll_out(
            hosts, self.play.deploy, job, executor=ThreadExecutor(), emit=lambda _: None, forks=1, frame=frame
        )
        note(Ended(reason=result.stop))
        self.store.journals.end(journal, result.stop)
        return result

    def _count(self) -> None:
        self.records += 1
        if self.records == self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run once."""
    folder, policy, kill_after, how = sys.argv[1:]
    here = Controller(Path(folder), OnFailure(policy), int(kill_after))
    again = how == "resume"
    journal = here.store.journals.take_up("") if again else here.begin()
    result = here.carry_on(journal, again=again)
    ends = {e.host: (e.state.value, e.release, e.previous, str(e.digest)) for e in result.outcomes}
    print(json.dumps({"records": here.records, "ends": ends, "stop": result.stop}))  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
