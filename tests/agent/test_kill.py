"""The agent killed at every changing system call of a deployment and a rollback: what an application opens is whole, and the next run converges.

A killed process keeps the page cache, so this holds atomicity and resumption; durability rests on the syncs that `files.py` makes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from ota.core.facts import SlotState
from ota.core.protocol import BlobKind
from ota.core.release import Digest, Release
from ota.errors import HostError
from ota.remote.device import Device
from tests.remote.test_device import blob, open_device, release, script

OLD, NEW = release(b"the old model"), release(b"the new model")
CALLS = ("rename", "symlink", "unlink", "mkdir", "link", "fsync")

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace, which kills at a system call, is not here"
)


def stage(device: Device, folder: Path, what: Release, content: bytes) -> None:
    """Bring a release to the device."""
    digest, path = blob(folder, content)
    device.put(BlobKind.CANDIDATE, digest, path)
    device.stage(what)


def deploy_new(device: Device, folder: Path) -> None:
    """Deploy the new release whatever state the device is in."""
    stage(device, folder, NEW, b"the new model")
    device.activate(NEW.id, expected_current=device.slot().current)
    device.confirm(NEW.id)


def revert_new(device: Device, folder: Path) -> None:
    """Bring the new release on trial, unless it is, and go back."""
    stage(device, folder, NEW, b"the new model")
    device.activate(NEW.id, expected_current=device.slot().current)
    device.revert()


def roll_back(device: Device, folder: Path) -> None:
    """Deploy the new release unless it is there, roll it back, and end the trial that a rollback is."""
    if device.slot().rolled_back_from is None:
        deploy_new(device, folder)
        device.rollback()
    device.confirm(OLD.id)
    device.confirm(OLD.id)


ACTIONS = {"deploy": (deploy_new, NEW), "revert": (revert_new, OLD), "rollback": (roll_back, OLD)}


def killed_at(folder: Path, call: str, number: int) -> str:
    """Return a Python that is killed at its `number`-th system call of that name, and forgets to be once it has happened."""
    inject = f"inject={call}:signal=KILL:when={number}"
    return script(
        folder / "python",
        f'exec strace -f -qq -o /dev/null -e trace={call} -e {inject} {sys.executable} "$@"',
    )


def whole(slot: SlotState) -> bool:
    """Say whether what an application opens is one of the two releases, whole."""
    known = {OLD.id: OLD.model.digest, NEW.id: NEW.model.digest}
    return slot.current in known and slot.current_digest == known[slot.current]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("call", CALLS)
def test_whatever_dies_the_application_finds_a_whole_release(call: str, action: str, tmp_path: Path) -> None:
    """Killed at each call of one kind: `current` resolves to a verified release, and running the action again ends as it should."""
    run, goal = ACTIONS[action]
    killed = 0
    for number in range(1, 40):
        root = tmp_path / str(number)
        with open_device(root) as device:
            stage(device, tmp_path, OLD, b"the old model")
            device.activate(OLD.id, expected_current=None)
            device.confirm(OLD.id)
        try:
            with open_device(root, killed_at(tmp_path, call, number)) as device:
                run(device, tmp_path)
        except HostError:
            killed += 1
        else:
            break
        with open_device(root) as device:
            assert whole(device.slot()), f"after {call} number {number}"
            run(device, tmp_path)
            slot = device.slot()
            assert (slot.current, slot.current_digest, slot.pending) == (goal.id, goal.model.digest, None)
            assert all(held.intact for held in slot.releases)
        assert not [path.name for path in root.rglob("*.tmp")]
    else:
        pytest.fail("the action never ended by itself")
    assert killed > 0 or call in {"symlink", "unlink", "mkdir", "link"}
    assert Digest.of(b"the old model") == OLD.model.digest
