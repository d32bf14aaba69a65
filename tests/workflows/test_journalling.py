"""What a later run makes of a journal's first record: the same plan, play and hosts, or a refusal that says what changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ota.core.host_state import HostState
from ota.core.inventory import Inventory
from ota.core.playbook import DeploySpec, ModelSpec, Play
from ota.core.rollout_log import Begun, HostFound
from ota.errors import UsageError
from ota.workflows.deploy_host import deploy_host
from ota.workflows.journalling import begun_of, hosts_of, noting, plan_of, play_of
from ota.workflows.releases import Plan
from tests.workflows.conftest import NEW, OLD, Bench

PLAY = Play(name="p", hosts="all", model=ModelSpec(name="sorter", source=Path("m")))


def begun(fleet: Bench) -> tuple[Begun, Plan]:
    """Return the first record of a rollout of two releases, and its plan."""
    releases = {"a": fleet.release(OLD), "b": fleet.release(NEW), "c": fleet.release(NEW)}
    plan = Plan(releases=releases, probe=None, selection="s")
    return begun_of(PLAY, [fleet.host(name) for name in "abc"], plan, "2026-01-31T10:00:00+00:00"), plan


def test_a_plan_comes_back_whole(fleet: Bench) -> None:
    """Each host has its own release again, from one manifest for each."""
    record, plan = begun(fleet)
    assert len(record.manifests) == 2
    assert plan_of(record) == plan


def test_releases_of_another_form_are_refused(fleet: Bench) -> None:
    """Where this ota would give a manifest another id nothing is rolled out under the old one."""
    record, _ = begun(fleet)
    other = replace(record.manifests[0], model="other")
    with pytest.raises(UsageError, match="another ota began this rollout"):
        plan_of(replace(record, manifests=(other, record.manifests[1])))


CHANGED = {
    "gone": ((), "the rollout is of the play 'p', which is not here"),
    "other commands": (
        (replace(PLAY, deploy=DeploySpec(after=("restart",))),),
        "the play 'p' was changed since its rollout began",
    ),
    "another model": (
        (replace(PLAY, model=ModelSpec(name="x", source=Path("m"))),),
        "the play 'p' was changed",
    ),
}


@pytest.mark.parametrize(("plays", "message"), CHANGED.values(), ids=CHANGED.keys())
def test_a_play_that_is_another_now_is_refused(plays: tuple[Play, ...], message: str, fleet: Bench) -> None:
    """The rollout goes on as it was begun, or not at all."""
    record, _ = begun(fleet)
    assert play_of(record, (PLAY,), "site.yaml") == PLAY
    with pytest.raises(UsageError, match=message):
        play_of(record, plays, "site.yaml")


def test_a_host_that_left_the_inventory_is_named(fleet: Bench) -> None:
    """Hosts come back in the rollout's order; one that is gone is an error with its name."""
    record, _ = begun(fleet)
    hosts = tuple(fleet.host(name) for name in "cba")
    assert [host.name for host in hosts_of(record, Inventory(hosts=hosts, groups=(), host_names=()))] == [
        "a",
        "b",
        "c",
    ]
    with pytest.raises(UsageError, match="the inventory lacks hosts of this rollout: found b"):
        hosts_of(record, Inventory(hosts=(hosts[0], hosts[2]), groups=(), host_names=()))


def test_what_a_device_runs_is_noted_when_it_is_first_met(fleet: Bench) -> None:
    """Once for each host, before its job changes anything; not for one that an earlier run met."""
    fleet.deploy(OLD)
    noted: list[HostFound] = []
    current: list[bytes | None] = []

    def note(found: HostFound) -> None:
        noted.append(found)
        current.append(fleet.current())

    ends = fleet.ends(met=noting(note, [HostFound(host="b", current=None)]))
    for name, content in (("a", NEW), ("b", NEW), ("a", OLD)):
        order = fleet.order(fleet.release(content))
        assert deploy_host(fleet.host(name), order, ends).state is HostState.CONFIRMED
    assert noted == [HostFound(host="a", current=fleet.release(OLD).id)]
    assert current == [OLD]
