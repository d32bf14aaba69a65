"""The proofs of a whole fleet in small, over real OpenSSH: a rollout with a broken device of each kind, and a controller that is killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.proofs import controller_kills, fleet_faults
from benchmarks.proofs.figures import Figures
from benchmarks.proofs.rollout_fleet import Fleet, lend_runtime, rollout_fleet
from ota.errors import UsageError
from ota.lab.sshd import account, find_programs

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(120)]


@contextmanager
def small_fleet(count: int, deploy: dict[str, object]) -> Iterator[Fleet]:
    """Start a fleet, or skip where that is not possible here."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError)
    try:
        find_programs()
        account()
    except UsageError as error:
        pytest.skip(error.render())
    with rollout_fleet(count, deploy) as fleet:
        yield fleet


def test_a_rollout_with_one_broken_device_of_each_kind() -> None:
    """Dead, full, unwell, cut off and a stranger: each ends as documented, what was told is what is read back, and mended they all catch up."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a device with a full disk needs root, to mount a small one")
    roles = fleet_faults.Roles(
        dead=("sorter-6",), full="sorter-2", unwell="sorter-3", cut="sorter-4", stranger="sorter-5"
    )
    figures = Figures()
    with small_fleet(6, {**fleet_faults.DEPLOY, "serial": "100%", "max_fail_percentage": 90}) as fleet:
        fleet_faults.prove(fleet, roles, figures, lend_runtime)
    assert len(figures.lines) >= 14
    assert [text for text, met in figures.lines if not met] == []


def test_a_controller_killed_at_some_instants_is_taken_up() -> None:
    """Killed before, within and late in a rollout: devices settle, `--resume` ends it, and a further run changes nothing."""
    tally = controller_kills.Tally()
    with small_fleet(2, controller_kills.DEPLOY) as fleet:
        lend_runtime(fleet)
        whole = controller_kills.undisturbed(fleet)
        for number, share in enumerate((0.5, 0.7, 0.9)):
            controller_kills.kill_once(fleet, number, whole * share, tally)
    assert tally.bad == []
    assert sum(tally.hit.values()) == 3
    assert tally.hit["in the rollout"] >= 1
