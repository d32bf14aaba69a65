"""Deployments to one host with the real agent: what ends where, what goes back, and that a second run changes nothing."""

from __future__ import annotations

import json

import pytest

from ota.core.events import StepFinished
from ota.core.host_state import HostState
from ota.core.playbook import HealthCheck
from ota.workflows.deploy_host import check_host, deploy_host
from tests.workflows.conftest import NEW, OLD, Bench


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
    assert fleet.current() == NEW
    assert (fleet.root("a") / "current" / "labels.txt").read_bytes() == b"one\ntwo\n"
    assert not (fleet.root("a") / "pending.json").exists()


def test_a_second_run_changes_nothing_and_sends_nothing(fleet: Bench) -> None:
    """The same release again is ok: no byte is sent, no step changed, and the previous release is kept."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    before = fleet.files()
    again = fleet.deploy(NEW, after=("echo after >> log",))
    assert (again.state, again.changed, again.bytes_sent, again.steps_ok, again.steps_changed) == (
        HostState.CONFIRMED,
        False,
        0,
        1,
        0,
    )
    assert fleet.files() == before
    assert (fleet.root("a") / "previous" / "model.tflite").read_bytes() == OLD


def test_commands_stand_around_the_activation(fleet: Bench) -> None:
    """`before` sees the old release, `after` and the health check the new one, in the ota_root."""
    fleet.deploy(OLD)
    look = "tail -c 9 current/model.tflite >> log; echo >> log"
    outcome = fleet.deploy(NEW, before=(look,), after=(look,), health_check=HealthCheck(command=look))
    assert outcome.state is HostState.CONFIRMED
    assert (fleet.root("a") / "log").read_text().split("\n") == ["old model", "new model", "new model", ""]


def test_a_failed_health_check_sends_the_host_back(fleet: Bench) -> None:
    """A release that is not well returns the host to its earlier one, runs the after commands again, and says why."""
    fleet.deploy(OLD)
    outcome = fleet.deploy(
        NEW,
        after=("tail -c 9 current/model.tflite >> log; echo >> log",),
        health_check=HealthCheck(command="echo tired; false", retries=2, delay_s=0),
    )
    assert outcome.state is HostState.ROLLED_BACK
    assert outcome.reason == "the health check 'echo tired; false' failed 3 times, last with 1: tired"
    assert (outcome.release, outcome.digest) == (fleet.release(OLD).id, fleet.release(OLD).model.digest)
    assert fleet.current() == OLD
    assert (fleet.root("a") / "log").read_text() == "new model\nold model\n"
    assert not (fleet.root("a") / "previous").exists()
    assert fleet.told("failed") == [outcome.reason]


def test_a_health_check_may_need_its_retries(fleet: Bench) -> None:
    """A check that passes at its last try passes, with the delay before each retry."""
    slept: list[float] = []
    order = fleet.order(
        fleet.release(NEW),
        health_check=HealthCheck(
            command="echo x >> tries; test $(wc -l < tries) = 3", retries=2, delay_s=1.5
        ),
    )
    outcome = deploy_host(fleet.host("a"), order, fleet.ends(sleep=slept.append))
    assert outcome.state is HostState.CONFIRMED
    assert slept == [1.5, 1.5]


def test_what_fails_on_the_way_back_is_told(fleet: Bench) -> None:
    """An after command that fails on the new release and on the old one leaves the old one current, and both failures in the reason."""
    fleet.deploy(OLD)
    outcome = fleet.deploy(NEW, after=("echo no; exit 3",))
    assert outcome.state is HostState.ROLLED_BACK
    assert outcome.reason == (
        "the after command 'echo no; exit 3' ended with 3: no; run again, the after command 'echo no; exit 3' ended with 3: no"
    )
    assert fleet.current() == OLD


def test_a_first_deployment_that_fails_leaves_no_current(fleet: Bench) -> None:
    """Where there was no release before, a failed one is taken away again."""
    outcome = fleet.deploy(NEW, health_check=HealthCheck(command="false", retries=0))
    assert (outcome.state, outcome.release, outcome.digest) == (HostState.ROLLED_BACK, None, None)
    assert outcome.reason == "the health check 'false' failed once with 1: it said nothing"
    assert not (fleet.root("a") / "current").is_symlink()


def test_a_failing_command_before_leaves_current_untouched(fleet: Bench) -> None:
    """A failure before the activation changes nothing that an application sees, and what was sent until then is counted."""
    fleet.deploy(OLD)
    outcome = fleet.deploy(NEW, before=("echo no >&2; exit 7",))
    assert outcome.state is HostState.FAILED
    assert outcome.reason == "the before command 'echo no >&2; exit 7' ended with 7: no"
    assert (outcome.release, outcome.previous) == (fleet.release(OLD).id,) * 2
    assert outcome.bytes_sent == len(NEW)
    assert fleet.current() == OLD
    assert fleet.told("failed") == [outcome.reason]


def test_an_application_that_was_stopped_for_nothing_comes_back(fleet: Bench) -> None:
    """Where a before command fails behind one that stopped the application, the after commands start it again."""
    fleet.deploy(OLD)
    fleet.deploy(NEW, before=("touch stopped", "exit 7"), after=("rm stopped",))
    assert fleet.current() == OLD
    assert not (fleet.root("a") / "stopped").exists()


def test_a_stop_before_the_activation_leaves_the_host_as_it_was(fleet: Bench) -> None:
    """A person's stop is heard before anything is activated, also behind a command that stopped the application."""
    fleet.deploy(OLD)
    stop: list[bool] = []
    release = fleet.release(NEW)
    order = fleet.order(release, before=("touch stopped",), after=("rm stopped",))

    def stopping() -> bool:
        stop.append((fleet.root("a") / "stopped").exists())
        return stop[-1]

    outcome = deploy_host(fleet.host("a"), order, fleet.ends(stopping=stopping))
    assert stop[-1]
    assert (outcome.state, outcome.reason) == (HostState.SKIPPED, "stopped before anything was activated")
    assert fleet.current() == OLD
    assert not (fleet.root("a") / "stopped").exists()


def test_an_unconfirmed_trial_is_finished_by_the_next_run(fleet: Bench) -> None:
    """A controller that died after the activation leaves a trial; the next deployment proves and confirms it."""
    fleet.deploy(OLD)
    fleet.leave_on_trial(NEW, previous=OLD)
    outcome = fleet.deploy(NEW, after=("echo after >> log",))
    assert outcome.state is HostState.CONFIRMED
    assert (fleet.root("a") / "log").read_text() == "after\n"
    assert not (fleet.root("a") / "pending.json").exists()
    assert outcome.bytes_sent == 0
    assert (fleet.root("a") / "previous" / "model.tflite").read_bytes() == OLD


def test_an_unconfirmed_trial_that_is_not_well_goes_back_to_the_confirmed_one(fleet: Bench) -> None:
    """A trial left by a dead controller is undone when its health check fails, to the release before the trial."""
    fleet.deploy(OLD)
    fleet.leave_on_trial(NEW, previous=OLD)
    outcome = fleet.deploy(NEW, health_check=HealthCheck(command="false", retries=0))
    assert outcome.state is HostState.ROLLED_BACK
    assert fleet.current() == OLD


def test_a_third_release_over_a_trial_goes_back_to_the_confirmed_one(fleet: Bench) -> None:
    """A trial that nobody confirmed is no place to go back to."""
    fleet.deploy(OLD)
    fleet.leave_on_trial(NEW, previous=OLD)
    outcome = fleet.deploy(b"....TFL3 third", health_check=HealthCheck(command="false", retries=0))
    assert outcome.state is HostState.ROLLED_BACK
    assert fleet.current() == OLD


def test_another_models_root_is_refused_before_a_byte_is_sent(fleet: Bench) -> None:
    """A root holds one model: a release of another is refused, in check mode too, and nothing changes."""
    fleet.deploy(OLD)
    before = fleet.files()
    fleet.model = "other"
    order = fleet.order(fleet.release(NEW))
    for job in (deploy_host, check_host):
        outcome = job(fleet.host("a"), order, fleet.ends())
        assert outcome.state is HostState.FAILED
        assert "holds releases of the model 'sorter', not of 'other'; give each model" in outcome.reason
        assert outcome.bytes_sent == 0
    assert fleet.files() == before


def test_check_mode_says_what_would_happen_and_touches_nothing(fleet: Bench) -> None:
    """Check mode names both releases and the bytes, and leaves the device as it was."""
    fleet.deploy(OLD)
    before = fleet.files()
    release = fleet.release(NEW)
    outcome = check_host(fleet.host("a"), fleet.order(release), fleet.ends())
    assert outcome.state is HostState.PENDING
    assert (
        outcome.reason == f"would go from {fleet.release(OLD).id} to {release.id}, sending {len(NEW)} bytes"
    )
    assert fleet.files() == before
    same = check_host(fleet.host("a"), fleet.order(fleet.release(OLD)), fleet.ends())
    assert (same.state, same.changed) == (HostState.CONFIRMED, False)


def test_check_mode_leaves_no_file_on_a_bare_device(fleet: Bench) -> None:
    """Where there was nothing there is nothing afterwards, not even the agent."""
    fleet.keep_agent = False
    outcome = check_host(fleet.host("a"), fleet.order(fleet.release(NEW)), fleet.ends())
    assert outcome.state is HostState.PENDING
    assert outcome.reason.startswith("would go from nothing to ")
    assert not fleet.root("a").exists()


def test_check_mode_tells_of_a_trial(fleet: Bench) -> None:
    """A release that is current but unconfirmed would be proven, not sent."""
    fleet.leave_on_trial(NEW)
    outcome = check_host(fleet.host("a"), fleet.order(fleet.release(NEW)), fleet.ends())
    assert (
        outcome.reason
        == f"would prove and confirm {fleet.release(NEW).id}, which is current, sending 0 bytes"
    )


def test_old_releases_are_pruned_and_the_newest_kept(fleet: Bench) -> None:
    """Only `keep_releases` stay, current and previous always among them."""
    contents = [f"....TFL3 {number}".encode() for number in range(5)]
    for content in contents:
        fleet.deploy(content, keep_releases=2)
    held = sorted(path.name for path in (fleet.root("a") / "releases").iterdir())
    assert held == sorted(fleet.release(content).id for content in contents[-2:])
    assert [e.detail for e in fleet.events if isinstance(e, StepFinished) and e.step == "prune"]


def test_a_damaged_release_is_repaired_before_it_is_current_again(fleet: Bench) -> None:
    """A file that rotted on the device is found by its digest and replaced by one rename."""
    fleet.deploy(NEW)
    target = fleet.root("a") / "current" / "model.tflite"
    target.unlink()
    target.write_bytes(b"....TFL3 rot!!!!!!")
    outcome = fleet.deploy(NEW)
    assert outcome.state is HostState.CONFIRMED
    assert outcome.changed
    assert fleet.current() == NEW


def test_a_repaired_release_that_is_not_well_is_no_rollback(fleet: Bench) -> None:
    """Where the release was current all along there is nothing to go back to, and the host is failed, not rolled back."""
    fleet.deploy(NEW)
    (fleet.root("a") / "current" / "model.tflite").write_bytes(b"....TFL3 rot!!!!!!")
    outcome = fleet.deploy(NEW, health_check=HealthCheck(command="false", retries=0))
    assert outcome.state is HostState.FAILED
    assert outcome.reason.endswith("; there was no other release to go back to")
    assert fleet.current() == NEW


@pytest.mark.parametrize("name", ["candidates/{}", "candidates/{}.partial"])
def test_what_rotted_beside_the_releases_is_sent_again(name: str, fleet: Bench) -> None:
    """A blob, or the part of one that an earlier run left, with wrong bytes: found by its digest and sent once more; what was a whole file is said."""
    release = fleet.release(NEW)
    rotten = fleet.root("a") / name.format(release.model.digest.hex)
    rotten.parent.mkdir(parents=True)
    rotten.write_bytes(b"rot")
    outcome = fleet.deploy(NEW)
    assert outcome.state is HostState.CONFIRMED
    assert fleet.current() == NEW
    assert outcome.bytes_sent >= len(NEW)
    said = [warning.endswith(": sending it again") for warning in fleet.warnings()]
    assert said == ([] if name.endswith(".partial") else [True])


@pytest.mark.parametrize(
    ("command", "end"), [("sleep 30", "124: its time was up"), ("exit 3", "3: it said nothing")]
)
def test_a_command_that_hangs_or_fails_ends_in_time(command: str, end: str, fleet: Bench) -> None:
    """A post-activation command has a time limit; one that breaks it sends the host back."""
    fleet.deploy(OLD)
    outcome = fleet.deploy(NEW, after=(command,), command_timeout_s=0.3)
    assert outcome.state is HostState.ROLLED_BACK
    assert f"the after command '{command}' ended with {end}" in outcome.reason
    assert fleet.current() == OLD


def test_the_journal_on_the_device_tells_what_happened(fleet: Bench) -> None:
    """Every change leaves a line in journal.jsonl, in order."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    fleet.rollback()
    lines = [json.loads(line) for line in (fleet.root("a") / "journal.jsonl").read_text().splitlines()]
    assert [line["action"] for line in lines] == [
        *("stage", "activate", "confirm"),
        *("stage", "activate", "confirm"),
        *("rollback", "confirm"),
    ]
