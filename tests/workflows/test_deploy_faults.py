"""Faults in the middle of a deployment: agents that die, connections that break, devices that lie; real agents, faults on demand."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import HealthCheck
from ota.core.release import Digest
from ota.errors import HostError
from ota.remote.answers import ReadBack
from ota.remote.device import Device
from ota.remote.requests import Asking
from ota.workflows.deploy_host import check_host, deploy_host
from tests.workflows.conftest import NEW, OLD, Altered, Bench

KILL_ONCE = "test -e killed || { touch killed; kill -9 $PPID; }"


def test_an_agent_that_dies_behind_the_activation_is_replaced_and_the_host_goes_back(fleet: Bench) -> None:
    """The host lives, so another agent undoes the trial; the reason has both."""
    fleet.deploy(OLD)
    outcome = fleet.deploy(NEW, after=(KILL_ONCE, "echo after >> log"))
    assert outcome.state is HostState.ROLLED_BACK
    assert "the command ended before it answered (was killed" in outcome.reason
    assert (outcome.release, outcome.digest) == (fleet.release(OLD).id, fleet.release(OLD).model.digest)
    assert fleet.current() == OLD
    assert (fleet.root("a") / "log").read_text() == "after\n"
    assert not (fleet.root("a") / "pending.json").exists()


def test_an_agent_that_dies_again_leaves_a_failed_host_that_says_what_is_current(fleet: Bench) -> None:
    """Where the way back fails too the host is failed, and the old release is what it has all the same."""
    fleet.deploy(OLD)
    outcome = fleet.deploy(NEW, after=("kill -9 $PPID",))
    assert outcome.state is HostState.ROLLED_BACK
    assert "the after command 'kill -9 $PPID' was not run again: the command ended" in outcome.reason
    assert fleet.current() == OLD


def cut(fleet: Bench, content: bytes, **spec: object) -> HostOutcome:
    """Deploy with a health check that fails, and close the connection before its retry."""
    order = fleet.order(fleet.release(content), health_check=HealthCheck(command="false"), **spec)
    ends = fleet.ends(sleep=lambda _: fleet.opened[-1].close())
    return deploy_host(fleet.host("a"), order, ends)


def test_a_connection_lost_behind_the_activation_is_unreachable_and_says_so(fleet: Bench) -> None:
    """Nobody can say what is current there: the reason does, and the next run finishes without sending anything."""
    fleet.deploy(OLD)
    outcome = cut(fleet, NEW)
    release = fleet.release(NEW).id
    assert (outcome.state, outcome.release) == (HostState.UNREACHABLE, release)
    assert outcome.reason.startswith(
        f"the connection was lost while {release} was activated: it may be active and unconfirmed; "
        "run ota deploy again to finish or undo it (the connection was closed"
    )
    assert fleet.told("unreachable") == [outcome.reason]
    again = fleet.deploy(NEW)
    assert (again.state, again.bytes_sent, again.digest) == (
        HostState.CONFIRMED,
        0,
        fleet.release(NEW).model.digest,
    )


def test_a_host_out_of_reach_should_have_the_release_all_the_same(fleet: Bench) -> None:
    """What an unreachable host should run is in its outcome, so that the next look at it shows the drift."""
    fleet.dead.add("a")
    outcome = fleet.deploy(NEW)
    assert (outcome.state, outcome.release, outcome.changed) == (
        HostState.UNREACHABLE,
        fleet.release(NEW).id,
        False,
    )
    assert outcome.reason == "no route to host"


class LosesActivation(Altered):
    """Carries out an activation, and its answer never arrives."""

    def alter(self, asking: Asking[Any]) -> Asking[Any]:
        """Lose the connection where the answer is read."""
        return replace(asking, read=lambda *_: self.lose()) if asking.op == "activate" else asking


def test_an_activation_whose_answer_is_lost_may_be_active(fleet: Bench) -> None:
    """A connection that breaks within the activation is told as one that broke behind it."""
    fleet.deploy(OLD)
    fleet.kind = LosesActivation
    outcome = fleet.deploy(NEW)
    assert outcome.state is HostState.UNREACHABLE
    assert "it may be active and unconfirmed" in outcome.reason
    assert fleet.current() == NEW


class Lies(Altered):
    """Answers that the old model is what it reads behind `current`, whatever is there."""

    def alter(self, asking: Asking[Any]) -> Asking[Any]:
        """Read another digest in the slot."""
        if asking.op != "slot":
            return asking
        return replace(
            asking,
            read=lambda answer, host: replace(asking.read(answer, host), current_digest=Digest.of(OLD)),
        )


def test_a_device_that_reads_back_something_else_is_no_success(fleet: Bench) -> None:
    """What was read back decides: a device that does not show the release goes back, with expected and found in the reason."""
    fleet.deploy(OLD)
    fleet.kind = Lies
    outcome = fleet.deploy(NEW)
    new, old = fleet.release(NEW), fleet.release(OLD)
    assert outcome.state is HostState.ROLLED_BACK
    assert outcome.reason == (
        f"the device reads back something else: expected {new.id} whole, its model {new.model.digest.short}, "
        f"found {new.id}, its model {old.model.digest.short}"
    )


class CannotGoBack(Device):
    """Refuses to go back."""

    def revert(self) -> ReadBack:
        """Refuse."""
        raise HostError("the disk is read-only", where=self.host.name)


class GoesElsewhere(Device):
    """Goes back, and reads something else there."""

    def revert(self) -> ReadBack:
        """Go back and lie."""
        return ReadBack(current=super().revert().current, digest=Digest.of(b"rot"))


@pytest.mark.parametrize(
    ("kind", "said", "left"),
    [
        (
            CannotGoBack,
            "and it could not go back, {new} is current and unconfirmed: the disk is read-only",
            NEW,
        ),
        (GoesElsewhere, "and {old}, to which it went back, does not read back as it was: found ", OLD),
    ],
    ids=["cannot", "elsewhere"],
)
def test_a_way_back_that_fails_is_failed_and_never_rolled_back(
    kind: type[Device], said: str, left: bytes, fleet: Bench
) -> None:
    """Only a read-back that shows the earlier release is a rollback."""
    fleet.deploy(OLD)
    fleet.kind = kind
    outcome = fleet.deploy(NEW, health_check=HealthCheck(command="false", retries=0))
    assert outcome.state is HostState.FAILED
    assert said.format(new=fleet.release(NEW).id, old=fleet.release(OLD).id) in outcome.reason
    assert fleet.current() == left


class CannotPrune(Altered):
    """Cannot remove anything."""

    def alter(self, asking: Asking[Any]) -> Asking[Any]:
        """Have it refused."""
        return replace(asking, fields={"keep": "few"}) if asking.op == "prune" else asking


class LostAtPrune(Altered):
    """Is lost behind the confirmation."""

    def alter(self, asking: Asking[Any]) -> Asking[Any]:
        """Break where the answer is read."""
        return replace(asking, read=lambda *_: self.lose()) if asking.op == "prune" else asking


@pytest.mark.parametrize("kind", [CannotPrune, LostAtPrune])
def test_what_comes_behind_the_confirmation_takes_nothing_from_it(kind: type[Device], fleet: Bench) -> None:
    """A release that was read back and confirmed is a success, even where the old ones cannot be removed; that is a warning."""
    fleet.deploy(OLD)
    fleet.kind = kind
    outcome = fleet.deploy(NEW)
    assert (outcome.state, outcome.reason) == (HostState.CONFIRMED, "")
    assert fleet.current() == NEW
    assert [warning[:31] for warning in fleet.warnings()] == ["old releases were not removed: "]


class Moves(Altered):
    """Is changed by somebody else between the first look and the activation."""

    def alter(self, asking: Asking[Any]) -> Asking[Any]:
        """Expect what is not so."""
        if asking.op != "activate":
            return asking
        return replace(asking, fields={**asking.fields, "expected_current": "f" * 16})


def test_a_device_that_somebody_else_changed_is_left_alone(fleet: Bench) -> None:
    """An activation that the device refuses is failed, its release stays, and an application that was stopped comes back."""
    fleet.deploy(OLD)
    fleet.kind = Moves
    outcome = fleet.deploy(NEW, before=("touch stopped",), after=("rm stopped",))
    assert outcome.state is HostState.FAILED
    assert "somebody else changed this device" in outcome.reason
    assert (fleet.current(), outcome.release) == (OLD, fleet.release(OLD).id)
    assert not (fleet.root("a") / "stopped").exists()


def test_a_second_controller_is_refused(fleet: Bench) -> None:
    """While one controller changes a device, another is told so and changes nothing."""
    fleet.deploy(OLD)
    with fleet.connect(fleet.host("a")) as first:
        first.prune(3)
        outcome = fleet.deploy(NEW)
    assert outcome.state is HostState.FAILED
    assert "another ota is at work on this device: process " in outcome.reason
    assert fleet.current() == OLD


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB in memory, where this user may mount one."""
    folder = tmp_path / "a"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("needs root and a kernel that mounts tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_too_full_is_found_before_the_first_byte(small_disk: Path, fleet: Bench) -> None:
    """The missing bytes are stated, nothing is sent, `current` stays, and check mode says so beforehand."""
    assert small_disk == fleet.root("a")
    fleet.deploy(OLD)
    large = fleet.release(b"....TFL3" + bytes(4_000_000))
    foreseen = check_host(fleet.host("a"), fleet.order(large), fleet.ends())
    assert re.search(
        r"sending 4000008 bytes, and would be refused: \d+ bytes are missing on the disk of .*/a for 4000008 bytes",
        foreseen.reason,
    )
    before = fleet.files()
    outcome = deploy_host(fleet.host("a"), fleet.order(large), fleet.ends())
    assert outcome.state is HostState.FAILED
    assert re.match(
        r"\d+ bytes are missing on the disk of .*/a for 4000008 bytes of this release", outcome.reason
    )
    assert outcome.bytes_sent == 0
    assert fleet.files() == before
    assert fleet.current() == OLD
