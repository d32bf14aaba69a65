"""Status with real agents: what is read back now against what should be there."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ota.core.host_state import HostState
from ota.core.host_status import HostStatus, drift
from ota.core.setting import Setting
from ota.errors import UnreachableError
from ota.remote.executor import ThreadExecutor
from ota.workflows.deploy_host import deploy_host
from ota.workflows.status import status
from tests.workflows.conftest import NEW, OLD, Bench


def look(fleet: Bench, hosts: str, expected: Mapping[str, str] | None = None) -> dict[str, HostStatus]:
    """Return the status of hosts by name."""
    told: list[str] = []
    found = status(
        [fleet.host(name) for name in hosts],
        expected or {},
        model=fleet.model,
        connect=fleet.connect,
        executor=ThreadExecutor(),
        forks=4,
        on_host=lambda one: told.append(one.host),
    )
    assert sorted(told) == sorted(hosts)
    assert [one.host for one in found] == list(hosts)
    return {one.host: one for one in found}


def test_a_host_as_it_should_be(fleet: Bench) -> None:
    """Current, previous and the digest behind `current` are read back, and a host that runs what it should has no drift."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    found = look(fleet, "a", {"a": fleet.release(NEW).id})["a"]
    assert found.slot is not None
    assert (found.slot.current, found.slot.previous) == (fleet.release(NEW).id, fleet.release(OLD).id)
    assert found.slot.current_digest == fleet.release(NEW).model.digest
    assert found.slot.disk_free_bytes > 0
    assert drift(found) == ""


def test_looking_changes_nothing(fleet: Bench) -> None:
    """A device that nothing was done to has no file of ours afterwards."""
    fleet.keep_agent = False
    assert drift(look(fleet, "a")["a"]) == "no release yet"
    assert not fleet.root("a").exists()


def test_every_drift_has_its_words(fleet: Bench) -> None:
    """A missed rollout, a trial, a release that rotted behind `current`, and one that rotted beside it."""
    for name in "abcd":
        fleet.deploy(OLD, name)
    old, new = fleet.release(OLD).id, fleet.release(NEW).id
    fleet.leave_on_trial(NEW, "b", previous=OLD)
    (fleet.root("c") / "current" / "model.tflite").write_bytes(b"rot")
    fleet.deploy(NEW, "d")
    (fleet.root("d") / "previous" / "model.tflite").write_bytes(b"rot")
    found = look(fleet, "abcd", {"a": new, "b": new, "c": old, "d": new})
    assert {name: drift(one) for name, one in found.items()} == {
        "a": f"should run {new}",
        "b": f"{new} is on trial and unconfirmed",
        "c": f"{old} is damaged",
        "d": f"damaged: {old}",
    }


def test_a_dead_host_is_a_value(fleet: Bench) -> None:
    """A host out of reach stops no other, and its status says why nothing could be read and what should be there."""
    fleet.deploy(OLD)
    fleet.dead.add("b")
    found = look(fleet, "ba", {"b": "f" * 16})
    assert isinstance(found["b"].error, UnreachableError)
    assert (found["b"].slot, found["b"].expected, drift(found["b"])) == (None, "f" * 16, "")
    assert found["a"].slot is not None


def test_a_host_that_a_rollout_missed_shows_drift_when_it_is_back(fleet: Bench) -> None:
    """What an unreachable host should have got is what it is compared with later."""
    fleet.deploy(OLD)
    fleet.dead.add("a")
    missed = fleet.deploy(NEW)
    fleet.dead.clear()
    assert missed.release is not None
    assert drift(look(fleet, "a", {"a": missed.release})["a"]) == f"should run {fleet.release(NEW).id}"


def test_another_models_root_is_an_error(fleet: Bench) -> None:
    """A root that holds another model's releases says so instead of showing them as this one's."""
    fleet.deploy(OLD)
    fleet.model = "other"
    found = look(fleet, "a")["a"]
    assert found.error is not None
    assert "holds releases of the model 'sorter', not of 'other'" in found.error.problem


def test_runtimes_are_shown(fleet: Bench) -> None:
    """A provisioned device names its runtime."""
    fleet.provision()
    assert [runtime.label for runtime in look(fleet, "a")["a"].runtimes] == ["ai-edge-litert 2"]


def deploy(fleet: Bench, setting: Setting | None) -> HostStatus:
    """Deploy a release that was measured so, untried, and return the device's status."""
    release = fleet.release(NEW, setting)
    outcome = deploy_host(fleet.host("a"), fleet.order(release), fleet.ends())
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    return look(fleet, "a", {"a": release.id})["a"]


def test_how_the_current_release_is_to_be_run_is_read_back(fleet: Bench) -> None:
    """The runtime and the threads come from the manifest on the device; a release that does not say has none."""
    fleet.provision()
    setting = Setting(runtime="ai-edge-litert 2", threads=4)
    found = deploy(fleet, setting)
    assert found.slot is not None
    assert (found.slot.setting, drift(found)) == (setting, "")
    plain = deploy(fleet, None)
    assert plain.slot is not None
    assert (plain.slot.setting, drift(plain)) == (None, "")


def test_a_runtime_that_is_gone_is_drift(fleet: Bench) -> None:
    """A release whose runtime is not on the device is told so."""
    found = deploy(fleet, Setting(runtime="tflite-runtime 2.14.0", threads=1))
    assert drift(found) == "its runtime tflite-runtime 2.14.0 is not installed"


@pytest.mark.parametrize("text", ["", "[]", '{"setting": 3}', '{"setting": {"runtime": 1}}'])
def test_a_damaged_manifest_says_nothing_of_a_runtime(text: str, fleet: Bench) -> None:
    """What rotted on the device is damage, and what it seems to say is not believed."""
    found = deploy(fleet, Setting(runtime="ai-edge-litert 2", threads=4))
    assert found.expected is not None
    (fleet.root("a") / "current" / "manifest.json").write_text(text)
    rotten = look(fleet, "a", {"a": found.expected})["a"]
    assert rotten.error is None
    assert rotten.slot is not None
    assert rotten.slot.setting is None
    assert drift(rotten) == f"{found.expected} is damaged"
