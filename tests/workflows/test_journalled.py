"""A controller killed at every record of its rollout's journal, with real agents: what takes it up ends in the same state, and nothing is done twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ota.core.host_state import HostState
from ota.errors import UsageError
from ota.store import Store
from tests.workflows.conftest import NEW, OLD, Bench

ROOT = Path(__file__).parent.parent.parent
RECORDS = {"stop": 10, "rollback_all": 13}
"""How many records a whole rollout of either kind has."""
KILLS = [(policy, number) for policy, records in RECORDS.items() for number in range(1, records + 1)]


def run(folder: Path, policy: str, kill_after: int, how: str) -> Any:
    """Run one controller; return what it says, None where it was killed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.workflows.journalled_run", str(folder), policy, str(kill_after), how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def prepared(folder: Path, policy: str) -> Bench:
    """Return two devices that run the old model; where all is to return, the second does not take the new one."""
    fleet = Bench(folder / "devices")
    (folder / "devices").mkdir()
    for host in "ab":
        assert fleet.deploy(OLD, host).state is HostState.CONFIRMED
    if policy == "rollback_all":
        (folder / "unwell").touch()
    return fleet


def expected(fleet: Bench, policy: str) -> dict[str, list[str]]:
    """Return how the hosts are to end."""
    old, new = fleet.release(OLD), fleet.release(NEW)
    state, release = ("rolled_back", old) if policy == "rollback_all" else ("confirmed", new)
    return {host: [state, release.id, old.id, str(release.model.digest)] for host in "ab"}


def check(folder: Path, fleet: Bench, policy: str, ends: Any) -> None:
    """Hold what was told against the devices and the store."""
    wanted = expected(fleet, policy)
    assert ends == wanted
    assert [fleet.current(host) for host in "ab"] == [OLD if policy == "rollback_all" else NEW] * 2
    with Store.open(folder / ".ota") as store:
        assert store.expected("sorter") == {host: end[1] for host, end in wanted.items()}
        (rolled,) = store.rollouts()
        assert [end.state.value for end in rolled.outcomes] == [end[0] for end in wanted.values()]
        assert store.journals.unfinished() == ()
        with pytest.raises(UsageError, match="there is no unfinished rollout"):
            store.journals.take_up("")


@pytest.mark.parametrize("policy", RECORDS)
def test_a_rollout_has_one_record_a_step(policy: str, tmp_path: Path) -> None:
    """Nobody is killed: the rollout ends as its policy says, and its journal is folded into the database."""
    fleet = prepared(tmp_path, policy)
    said = run(tmp_path, policy, 0, "begin")
    assert said["records"] == RECORDS[policy]
    check(tmp_path, fleet, policy, said["ends"])


@pytest.mark.parametrize(("policy", "number"), KILLS)
def test_a_controller_killed_at_any_record_is_taken_up(policy: str, number: int, tmp_path: Path) -> None:
    """The resumed rollout ends as one that was never broken off, whatever had been noted; a rollout that had ended is folded by itself."""
    fleet = prepared(tmp_path, policy)
    assert run(tmp_path, policy, number, "begin") is None
    last = number == RECORDS[policy]
    said = {"ends": expected(fleet, policy)} if last else run(tmp_path, policy, 0, "resume")
    check(tmp_path, fleet, policy, said["ends"])


def test_a_controller_killed_again_and_again_gets_there(tmp_path: Path) -> None:
    """Whoever takes it up may die as well, at its fifth record each time; every run brings it on."""
    fleet = prepared(tmp_path, "rollback_all")
    assert run(tmp_path, "rollback_all", 3, "begin") is None
    said = None
    for _ in range(6):
        said = run(tmp_path, "rollback_all", 5, "resume")
        if said is not None:
            break
    assert said is not None
    check(tmp_path, fleet, "rollback_all", said["ends"])


@pytest.mark.parametrize("policy", RECORDS)
def test_a_controller_killed_in_the_middle_of_a_trial_is_taken_up(policy: str, tmp_path: Path) -> None:
    """A release that was active and unconfirmed when the controller died is proven, and its host's earlier release is still known by name."""
    fleet = prepared(tmp_path, policy)
    (tmp_path / "deadly").touch()
    assert run(tmp_path, policy, 0, "begin") is None
    assert fleet.current("a") == NEW
    check(tmp_path, fleet, policy, run(tmp_path, policy, 0, "resume")["ends"])


def test_what_was_confirmed_and_reads_back_otherwise_is_done_again(tmp_path: Path) -> None:
    """A host that ended before the crash and was changed by somebody since gets its release once more; the other is left alone."""
    fleet = prepared(tmp_path, "stop")
    assert run(tmp_path, "stop", 5, "begin") is None
    assert fleet.current("a") == NEW
    fleet.rollback(host="a")
    assert fleet.current("a") == OLD
    check(tmp_path, fleet, "stop", run(tmp_path, "stop", 0, "resume")["ends"])
