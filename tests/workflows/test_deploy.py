"""Deployments and rollbacks with the real agent: what ends where, what goes back, and that a second run changes nothing."""

from __future__ import annotations

import json

import pytest

from ota.core.events import StepFinished
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.playbook import BatchSize, DeploySpec, HealthCheck
from ota.core.protocol import BlobKind
from ota.errors import InterruptedRunError
from ota.remote.executor import ThreadExecutor
from ota.workflows.deploy import Result, roll_out
from ota.workflows.deploy_host import check_host, deploy_host
from ota.workflows.rollback_host import check_rollback_host, rollback_host
from tests.workflows.conftest import Bench

OLD, NEW = b"....TFL3 old model", b"....TFL3 new model"


def deploy(fleet: Bench, content: bytes, host: str = "a", **spec: object) -> HostOutcome:
    """Deploy a release of `content` on one host."""
    return deploy_host(fleet.host(host), fleet.order(fleet.release(content), **spec), fleet.ends())


def test_a_release_is_confirmed_only_after_it_was_read_back(fleet: Bench) -> None:
    """A deployment ends confirmed with the digest that the device read behind `current`, and counts the bytes sent."""
    release = fleet.release(NEW, labels=b"one\ntwo\n")
    outcome = deploy_host(fleet.host("a"), fleet.order(release), fleet.ends())
    assert (outcome.state, outcome.release, outcome.digest) == (
        HostState.CONFIRMED,
        release.id,
        release.model.digest,
    )
    assert outcome.bytes_sent == len(NEW) + len(b"one\ntwo\n")
    assert outcome.changed
    assert fleet.current("a") == NEW
    assert (fleet.root("a") / "current" / "labels.txt").read_bytes() == b"one\ntwo\n"
    assert not (fleet.root("a") / "pending.json").exists()


def test_a_second_run_changes_nothing_and_sends_nothing(fleet: Bench) -> None:
    """The same release again is ok: no byte is sent, no step changed, and the previous release is kept."""
    deploy(fleet, OLD)
    deploy(fleet, NEW)
    before = sorted(path.name for path in fleet.root("a").rglob("*"))
    again = deploy(fleet, NEW)
    assert (again.state, again.changed, again.bytes_sent, again.steps_changed) == (
        HostState.CONFIRMED,
        False,
        0,
        0,
    )
    assert sorted(path.name for path in fleet.root("a").rglob("*")) == before
    assert (fleet.root("a") / "previous" / "model.tflite").read_bytes() == OLD


def test_a_failed_health_check_sends_the_host_back(fleet: Bench) -> None:
    """A release that is not well returns the host to its earlier one, runs the after commands again, and says why."""
    deploy(fleet, OLD)
    outcome = deploy(
        fleet,
        NEW,
        after=("echo after >> log",),
        health_check=HealthCheck(command="echo tired; false", retries=2, delay_s=0),
    )
    assert outcome.state is HostState.ROLLED_BACK
    assert outcome.reason == "the health check 'echo tired; false' failed 3 times, last with 1: tired"
    assert fleet.current("a") == OLD
    assert (fleet.root("a") / "log").read_text() == "after\nafter\n"
    assert not (fleet.root("a") / "previous").exists()


def test_a_first_deployment_that_fails_leaves_no_current(fleet: Bench) -> None:
    """Where there was no release before, a failed one is taken away again."""
    outcome = deploy(fleet, NEW, health_check=HealthCheck(command="false", retries=0))
    assert outcome.state is HostState.ROLLED_BACK
    assert fleet.current("a") is None


def test_a_failing_command_before_leaves_current_untouched(fleet: Bench) -> None:
    """A failure before the activation changes nothing that an application sees."""
    deploy(fleet, OLD)
    result = roll(fleet, NEW, ["a"], before=("echo no >&2; exit 7",))
    (outcome,) = result.outcomes
    assert outcome.state is HostState.FAILED
    assert "the before command 'echo no >&2; exit 7' ended with 7: no" in outcome.reason
    assert fleet.current("a") == OLD


def test_an_unconfirmed_trial_is_finished_by_the_next_run(fleet: Bench) -> None:
    """A controller that died after the activation leaves a trial; the next deployment proves and confirms it."""
    release = fleet.release(NEW)
    with fleet.connect(fleet.host("a")) as device:
        device.put(BlobKind.CANDIDATE, release.model.digest, fleet.blob(release.model.digest))
        device.stage(release)
        device.activate(release.id, expected_current=None)
    outcome = deploy(fleet, NEW)
    assert outcome.state is HostState.CONFIRMED
    assert not (fleet.root("a") / "pending.json").exists()
    assert outcome.bytes_sent == 0


def test_an_unconfirmed_trial_that_is_not_well_goes_back_to_the_confirmed_one(fleet: Bench) -> None:
    """A trial left by a dead controller is undone when its health check fails, to the release before the trial."""
    deploy(fleet, OLD)
    release = fleet.release(NEW)
    with fleet.connect(fleet.host("a")) as device:
        device.put(BlobKind.CANDIDATE, release.model.digest, fleet.blob(release.model.digest))
        device.stage(release)
        device.activate(release.id, expected_current=fleet.release(OLD).id)
    outcome = deploy(fleet, NEW, health_check=HealthCheck(command="false", retries=0))
    assert outcome.state is HostState.ROLLED_BACK
    assert fleet.current("a") == OLD


def test_another_models_root_is_refused(fleet: Bench) -> None:
    """A root holds one model: a release of another is refused and nothing changes."""
    deploy(fleet, OLD)
    fleet.model = "other"
    (outcome,) = roll(fleet, NEW, ["a"]).outcomes
    assert outcome.state is HostState.FAILED
    assert "holds releases of the model 'sorter', not of 'other'" in outcome.reason
    assert fleet.current("a") == OLD


def test_check_mode_says_what_would_happen_and_touches_nothing(fleet: Bench) -> None:
    """Check mode names both releases and the bytes, and leaves the device as it was."""
    deploy(fleet, OLD)
    before = sorted(str(path) for path in fleet.root("a").rglob("*"))
    release = fleet.release(NEW)
    outcome = check_host(fleet.host("a"), fleet.order(release), fleet.ends())
    assert outcome.state is HostState.PENDING
    assert (
        outcome.reason == f"would go from {fleet.release(OLD).id} to {release.id}, sending {len(NEW)} bytes"
    )
    assert sorted(str(path) for path in fleet.root("a").rglob("*")) == before


def roll(fleet: Bench, content: bytes, hosts: list[str], **spec: object) -> Result:
    """Roll a release out on several hosts."""
    order = fleet.order(fleet.release(content), **spec)
    return roll_out(
        [fleet.host(name) for name in hosts],
        order.spec,
        lambda host: deploy_host(host, order, fleet.ends()),
        executor=ThreadExecutor(),
        emit=fleet.events.append,
        forks=4,
    )


def states(result: Result) -> dict[str, str]:
    """Return the state of each host."""
    return {outcome.host: outcome.state.value for outcome in result.outcomes}


def test_a_dead_host_stops_no_other_in_its_batch(fleet: Bench) -> None:
    """An unreachable host is a value; those beside it are deployed."""
    fleet.dead.add("b")
    result = roll(fleet, NEW, ["a", "b", "c"])
    assert states(result) == {"a": "confirmed", "b": "unreachable", "c": "confirmed"}
    assert "no route to host" in result.outcomes[1].reason


def test_a_failing_canary_stops_the_rollout(fleet: Bench) -> None:
    """Hosts behind a batch that broke the budget are skipped and untouched, and say why."""
    fleet.dead.add("a")
    result = roll(fleet, NEW, ["a", "b", "c"], serial=(BatchSize(count=1),), max_fail_percentage=0)
    assert states(result) == {"a": "unreachable", "b": "skipped", "c": "skipped"}
    assert result.stop.startswith("batch 1 of 3: a did not make it")
    assert fleet.current("b") is None


def test_ctrl_c_lets_no_host_begin_and_finishes_what_was_activated(fleet: Bench) -> None:
    """After an interruption the host under way is finished or untouched, the others are skipped, and the result says so."""

    def interrupted(host: Host) -> HostOutcome:
        outcome = deploy_host(host, fleet.order(fleet.release(NEW)), fleet.ends())
        if host.name == "b":
            raise KeyboardInterrupt
        return outcome

    spec = DeploySpec(serial=(BatchSize(count=1),))
    hosts = [fleet.host(name) for name in ("a", "b", "c")]
    result = roll_out(hosts, spec, interrupted, executor=ThreadExecutor(), emit=fleet.events.append, forks=1)
    assert result.interrupted
    assert result.stop == "interrupted"
    assert (states(result)["a"], states(result)["c"]) == ("confirmed", "skipped")
    assert fleet.current("b") == NEW
    assert fleet.current("c") is None


def test_a_stop_before_the_activation_leaves_the_host_as_it_was(fleet: Bench) -> None:
    """A person's stop is heard before anything is activated."""
    deploy(fleet, OLD)
    outcome_or_error: HostOutcome | InterruptedRunError
    outcome_or_error = deploy_host(
        fleet.host("a"), fleet.order(fleet.release(NEW)), fleet.ends(stopping=lambda: True)
    )
    assert outcome_or_error.state is HostState.SKIPPED
    assert fleet.current("a") == OLD


def test_rollback_returns_to_the_previous_release_without_bytes(fleet: Bench) -> None:
    """A rollback makes the previous release current, sends nothing, and a second one changes nothing."""
    deploy(fleet, OLD)
    deploy(fleet, NEW)
    first = rollback_host(fleet.host("a"), fleet.back(), fleet.ends())
    assert (first.state, first.changed, first.bytes_sent) == (HostState.CONFIRMED, True, 0)
    assert first.digest == fleet.release(OLD).model.digest
    assert fleet.current("a") == OLD
    again = rollback_host(fleet.host("a"), fleet.back(), fleet.ends())
    assert (again.state, again.changed) == (HostState.CONFIRMED, False)
    assert fleet.current("a") == OLD


def test_rollback_to_a_named_release(fleet: Bench) -> None:
    """`--to` finds any release that is still on the device; one that is not is refused with those that are."""
    for content in (OLD, NEW, b"....TFL3 third"):
        deploy(fleet, content)
    outcome = rollback_host(fleet.host("a"), fleet.back(fleet.release(OLD).id), fleet.ends())
    assert outcome.release == fleet.release(OLD).id
    assert fleet.current("a") == OLD
    result = roll_out(
        [fleet.host("a")],
        DeploySpec(),
        lambda host: rollback_host(host, fleet.back("0" * 16), fleet.ends()),
        executor=ThreadExecutor(),
        emit=fleet.events.append,
        forks=1,
    )
    assert result.outcomes[0].state is HostState.FAILED
    assert "release 0000000000000000 is not on this device; here are: " in result.outcomes[0].reason


def test_rollback_without_a_previous_release_is_refused(fleet: Bench) -> None:
    """A host that never had two releases says that there is nothing to go back to."""
    deploy(fleet, NEW)
    for job in (
        lambda host: rollback_host(host, fleet.back(), fleet.ends()),
        lambda host: check_rollback_host(host, fleet.back(), fleet.ends()),
    ):
        result = roll_out(
            [fleet.host("a")], DeploySpec(), job, executor=ThreadExecutor(), emit=fleet.events.append, forks=1
        )
        assert "there is no previous release to go back to" in result.outcomes[0].reason
    assert fleet.current("a") == NEW


def test_old_releases_are_pruned_and_the_newest_kept(fleet: Bench) -> None:
    """Only `keep_releases` stay, current and previous always among them."""
    contents = [f"....TFL3 {number}".encode() for number in range(5)]
    for content in contents:
        deploy(fleet, content, keep_releases=2)
    held = sorted(path.name for path in (fleet.root("a") / "releases").iterdir())
    assert held == sorted(fleet.release(content).id for content in contents[-2:])
    assert [e.detail for e in fleet.events if isinstance(e, StepFinished) and e.step == "prune"]


def test_a_damaged_release_is_repaired_before_it_is_current_again(fleet: Bench) -> None:
    """A file that rotted on the device is found by its digest and replaced by one rename."""
    deploy(fleet, NEW)
    target = fleet.root("a") / "current" / "model.tflite"
    target.unlink()
    target.write_bytes(b"....TFL3 rot!!!!!!")
    outcome = deploy(fleet, NEW)
    assert outcome.state is HostState.CONFIRMED
    assert outcome.changed
    assert fleet.current("a") == NEW


@pytest.mark.parametrize("command", ["sleep 30", "exit 3"])
def test_a_command_that_hangs_or_fails_ends_in_time(command: str, fleet: Bench) -> None:
    """A post-activation command has a time limit; one that breaks it sends the host back."""
    deploy(fleet, OLD)
    outcome = deploy(fleet, NEW, after=(command,), command_timeout_s=0.3)
    assert outcome.state is HostState.ROLLED_BACK
    assert f"the after command '{command}' ended with {124 if 'sleep' in command else 3}" in outcome.reason
    assert fleet.current("a") == OLD


def test_the_journal_on_the_device_tells_what_happened(fleet: Bench) -> None:
    """Every change leaves a line in journal.jsonl, in order."""
    deploy(fleet, OLD)
    deploy(fleet, NEW)
    rollback_host(fleet.host("a"), fleet.back(), fleet.ends())
    lines = [json.loads(line) for line in (fleet.root("a") / "journal.jsonl").read_text().splitlines()]
    assert [line["action"] for line in lines] == [
        "stage",
        "activate",
        "confirm",
        "stage",
        "activate",
        "confirm",
        "rollback",
        "confirm",
    ]
