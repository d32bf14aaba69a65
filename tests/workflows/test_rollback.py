"""Rollbacks of one host with the real agent: where it goes, that nothing is sent, and that one cut short is finished."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ota.core.host_state import HostState
from ota.core.playbook import HealthCheck
from ota.remote.device import Device
from ota.remote.requests import Asking
from ota.workflows.rollback_host import check_rollback_host, rollback_host
from tests.workflows.conftest import NEW, OLD, Altered, Bench

THIRD = b"....TFL3 third"


def test_rollback_returns_to_the_previous_release_without_bytes(fleet: Bench) -> None:
    """A rollback makes the previous release current, sends nothing, and a second one changes nothing."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    first = fleet.rollback()
    assert (first.state, first.changed, first.bytes_sent) == (HostState.CONFIRMED, True, 0)
    assert (first.release, first.digest) == (fleet.release(OLD).id, fleet.release(OLD).model.digest)
    assert first.previous == fleet.release(NEW).id
    assert fleet.current() == OLD
    before = fleet.files()
    again = fleet.rollback(after=("touch after",))
    assert (again.state, again.changed, again.release) == (HostState.CONFIRMED, False, first.release)
    assert fleet.files() == before


def test_rollback_to_a_named_release(fleet: Bench) -> None:
    """`--to` finds any release that is still on the device; a second run changes nothing."""
    for content in (OLD, NEW, THIRD):
        fleet.deploy(content)
    to = fleet.release(OLD).id
    assert [fleet.rollback(to).changed for _ in range(2)] == [True, False]
    assert fleet.current() == OLD


def test_the_beginning_of_an_id_is_enough(fleet: Bench) -> None:
    """Where it fits one release alone that one is meant; where it fits several, none is."""
    contents = [f"....TFL3 {number}".encode() for number in range(17)]
    for content in contents:
        fleet.deploy(content, keep_releases=17)
    ids = [fleet.release(content).id for content in contents]
    twice = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)
    outcome = fleet.rollback(twice)
    assert outcome.state is HostState.FAILED
    assert outcome.reason.startswith(f"more than one release on this device is {twice}; here are: ")
    assert fleet.rollback(ids[3][:8]).release == ids[3]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "part"])
def test_a_host_out_of_reach_should_go_where_a_whole_id_says(whole: bool, fleet: Bench) -> None:
    """A part of an id is no release that the next look could compare with."""
    fleet.dead.add("a")
    to = "0123456789abcdef" if whole else "0123"
    outcome = fleet.rollback(to)
    assert (outcome.state, outcome.release) == (HostState.UNREACHABLE, to if whole else None)


@pytest.mark.parametrize("job", [rollback_host, check_rollback_host])
def test_a_release_that_is_not_there_is_refused_with_those_that_are(job: object, fleet: Bench) -> None:
    """An unknown id changes nothing, in check mode too."""
    fleet.deploy(NEW)
    outcome = job(fleet.host("a"), fleet.back("0" * 16), fleet.ends())  # type: ignore[operator]
    assert outcome.state is HostState.FAILED
    assert (
        outcome.reason == f"no release on this device is 0000000000000000; here are: {fleet.release(NEW).id}"
    )
    assert fleet.current() == NEW


@pytest.mark.parametrize("job", [rollback_host, check_rollback_host])
def test_rollback_without_a_previous_release_is_refused(job: object, fleet: Bench) -> None:
    """A host that never had two releases says that there is nothing to go back to."""
    fleet.deploy(NEW)
    outcome = job(fleet.host("a"), fleet.back(), fleet.ends())  # type: ignore[operator]
    assert (outcome.state, outcome.reason) == (
        HostState.FAILED,
        "there is no previous release to go back to",
    )
    assert fleet.current() == NEW


@pytest.mark.parametrize("job", [rollback_host, check_rollback_host])
def test_a_damaged_release_is_no_place_to_go_back_to(job: object, fleet: Bench) -> None:
    """A previous release that no longer equals its manifest is refused before anything is stopped."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    rotten = fleet.root("a") / "previous" / "model.tflite"
    rotten.unlink()
    rotten.write_bytes(b"rot")
    outcome = job(fleet.host("a"), fleet.back(before=("touch stopped",)), fleet.ends())  # type: ignore[operator]
    assert outcome.state is HostState.FAILED
    assert outcome.reason.startswith(f"release {fleet.release(OLD).id} is damaged on the device; ota deploy")
    assert fleet.current() == NEW
    assert not (fleet.root("a") / "stopped").exists()


@pytest.mark.parametrize("job", [rollback_host, check_rollback_host])
def test_another_models_releases_are_not_rolled_back(job: object, fleet: Bench) -> None:
    """A root that holds another model is refused: its releases are somebody else's."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    fleet.model = "other"
    outcome = job(fleet.host("a"), fleet.back(), fleet.ends())  # type: ignore[operator]
    assert outcome.state is HostState.FAILED
    assert "holds releases of the model 'sorter', not of 'other'" in outcome.reason
    assert fleet.current() == NEW


def test_check_mode_says_where_it_would_go(fleet: Bench) -> None:
    """Check mode names both releases and touches nothing."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    before = fleet.files()
    outcome = check_rollback_host(fleet.host("a"), fleet.back(), fleet.ends())
    assert outcome.state is HostState.PENDING
    old, new = fleet.release(OLD).id, fleet.release(NEW).id
    assert outcome.reason == f"would go back from {new} to {old}, sending 0 bytes"
    assert fleet.files() == before


def test_commands_and_health_check_stand_around_a_rollback_too(fleet: Bench) -> None:
    """`before` sees the release that goes, `after` and the health check the one that comes back."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    look = "tail -c 9 current/model.tflite >> log; echo >> log"
    fleet.rollback(before=(look,), after=(look,), health_check=HealthCheck(command=look))
    assert (fleet.root("a") / "log").read_text() == "new model\nold model\nold model\n"


def test_a_rollback_that_is_not_well_is_failed_and_tried_again(fleet: Bench) -> None:
    """A host goes off the release that was rolled back in any case; the next rollback proves the other, and only then is it ok."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    check = HealthCheck(command="test -e well", retries=0)
    for _ in range(2):
        outcome = fleet.rollback(health_check=check)
        assert outcome.state is HostState.FAILED
        assert outcome.reason == (
            "the health check 'test -e well' failed once with 1: it said nothing; "
            f"{fleet.release(OLD).id} is current and unconfirmed, run ota rollback again to prove it"
        )
        assert fleet.current() == OLD
    (fleet.root("a") / "well").touch()
    assert fleet.rollback(health_check=check).state is HostState.CONFIRMED
    assert not fleet.rollback(health_check=check).changed


class LosesRollback(Altered):
    """Carries out a rollback, and its answer never arrives."""

    def alter(self, asking: Asking[Any]) -> Asking[Any]:
        """Lose the connection where the answer is read."""
        return replace(asking, read=lambda *_: self.lose()) if asking.op == "rollback" else asking


def test_a_rollback_that_was_cut_short_is_finished_by_the_next(fleet: Bench) -> None:
    """The application has not opened the old model yet: the next rollback runs the after commands, and confirms."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    fleet.kind = LosesRollback
    outcome = fleet.rollback(after=("echo after >> log",))
    assert outcome.state is HostState.UNREACHABLE
    assert outcome.reason == (
        f"the connection was lost while it went back to {fleet.release(OLD).id}: "
        "run ota rollback again to finish (the connection went silent)"
    )
    assert not (fleet.root("a") / "log").exists()
    fleet.kind = Device
    again = fleet.rollback(after=("echo after >> log",))
    assert (again.state, again.digest) == (HostState.CONFIRMED, fleet.release(OLD).model.digest)
    assert (fleet.root("a") / "log").read_text() == "after\n"
    assert not (fleet.root("a") / "pending.json").exists()


def test_a_deployment_over_a_rollback_that_was_cut_short_goes_back_to_its_target(fleet: Bench) -> None:
    """What was rolled back is never the place to return to."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    fleet.kind = LosesRollback
    fleet.rollback()
    fleet.kind = Device
    outcome = fleet.deploy(THIRD, health_check=HealthCheck(command="false", retries=0))
    assert outcome.state is HostState.ROLLED_BACK
    assert fleet.current() == OLD


def test_a_trial_is_rolled_back_to_what_was_confirmed(fleet: Bench) -> None:
    """A release that nobody confirmed is left by a rollback as any other."""
    fleet.deploy(OLD)
    fleet.leave_on_trial(NEW, previous=OLD)
    assert fleet.rollback().state is HostState.CONFIRMED
    assert fleet.current() == OLD


def test_a_stop_before_the_rollback_leaves_the_host_as_it_was(fleet: Bench) -> None:
    """A person's stop is heard before anything moves."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    outcome = rollback_host(fleet.host("a"), fleet.back(), fleet.ends(stopping=lambda: True))
    assert outcome.state is HostState.SKIPPED
    assert fleet.current() == NEW


def test_what_was_rolled_back_can_be_deployed_again_without_bytes(fleet: Bench) -> None:
    """The release is still there: going forward again sends nothing, and a rollback returns once more."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    fleet.rollback()
    forward = fleet.deploy(NEW)
    assert (forward.state, forward.bytes_sent) == (HostState.CONFIRMED, 0)
    fleet.rollback()
    assert fleet.current() == OLD
