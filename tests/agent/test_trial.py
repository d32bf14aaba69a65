"""A release that nobody confirms: the device goes back by itself, whatever became of the controller, of the dialogue and of the machine."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ota.core.protocol import BlobKind
from ota.remote.answers import Lease
from ota.remote.device import Device
from ota.remote.dialogue import RefusedError
from tests.remote.test_device import blob, open_device, release

OLD, NEW = release(b"the old model"), release(b"the new model")
SOON = 1.0
"""A lease, in seconds, that a test can wait for."""
_PATIENCE_S = 30.0


def deploy(device: Device, folder: Path) -> None:
    """Bring and confirm the old release, and stage the new one."""
    for what, content in ((OLD, b"the old model"), (NEW, b"the new model")):
        digest, path = blob(folder, content)
        device.put(BlobKind.CANDIDATE, digest, path)
        device.stage(what)
    device.activate(OLD.id, expected_current=None)
    device.confirm(OLD.id)


def wait_for(what: Callable[[], bool]) -> None:
    """Wait until something holds; the test fails where it does not in good time."""
    until = time.monotonic() + _PATIENCE_S
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)


def current(root: Path) -> str:
    """Return the id of the current release."""
    return (root / "current").readlink().name


def agents(root: Path, *, watchdog: bool = False) -> list[int]:
    """Return the agents of `root`, or the watchdogs that they have forked: those read from nowhere."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            reads = (entry / "fd" / "0").readlink()
        except OSError:
            continue
        if bytes(root) in words and b"keep" in words and (str(reads) == os.devnull) is watchdog:
            found.append(int(entry.name))
    return found


def journal(root: Path) -> list[tuple[str, str | None]]:
    """Return what happened on the device."""
    lines = (root / "journal.jsonl").read_text().splitlines()
    return [(line["action"], line["release"]) for line in map(json.loads, lines)]


def test_a_controller_that_falls_silent_loses_its_release(tmp_path: Path) -> None:
    """The dialogue stays open and nothing comes: the device goes back, runs the command again, says why, and takes no confirmation afterwards."""
    root = tmp_path / "root"
    lease = Lease(seconds=SOON, after=('readlink current >> "$PWD/opened"',))
    with open_device(root) as device:
        deploy(device, tmp_path)
        device.activate(NEW.id, expected_current=OLD.id, lease=lease)
        assert current(root) == NEW.id
        wait_for(lambda: (root / "opened").exists() and not agents(root, watchdog=True))
        with pytest.raises(RefusedError, match="nobody confirmed"):
            device.confirm(NEW.id)
        slot = device.slot()
    assert slot.current == OLD.id
    assert slot.pending is None
    assert slot.reverted is not None
    assert (slot.reverted.release, slot.reverted.to) == (NEW.id, OLD.id)
    assert slot.reverted.why == f"nobody confirmed {NEW.id} within 1 s"
    assert (root / "opened").read_text() == f"releases/{OLD.id}\n"
    assert journal(root)[-2:] == [("revert", OLD.id), ("after", OLD.id)]


def test_the_agent_killed_is_no_confirmation(tmp_path: Path) -> None:
    """The whole dialogue dies at once: the watchdog is not of it, and goes back."""
    root = tmp_path / "root"
    with open_device(root) as device:
        deploy(device, tmp_path)
        device.activate(NEW.id, expected_current=OLD.id, lease=Lease(seconds=SOON))
        for pid in agents(root):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: current(root) == OLD.id)
    wait_for(lambda: not (root / "pending.json").exists())


def test_a_confirmed_release_stays_and_its_watchdog_goes(tmp_path: Path) -> None:
    """Words of the controller renew the lease; after the confirmation nothing goes back."""
    root = tmp_path / "root"
    with open_device(root) as device:
        deploy(device, tmp_path)
        device.activate(NEW.id, expected_current=OLD.id, lease=Lease(seconds=SOON))
        until = time.monotonic() + 3 * SOON
        while time.monotonic() < until:
            assert device.slot().current == NEW.id
            time.sleep(SOON / 5)
        device.confirm(NEW.id)
        wait_for(lambda: not agents(root, watchdog=True))
        slot = device.slot()
    assert (slot.current, slot.previous, slot.pending, slot.reverted) == (NEW.id, OLD.id, None, None)


def test_a_long_command_is_no_silence(tmp_path: Path) -> None:
    """A health check that takes longer than the lease, the controller waiting for it, keeps the trial alive."""
    with open_device(tmp_path / "root") as device:
        deploy(device, tmp_path)
        device.activate(NEW.id, expected_current=OLD.id, lease=Lease(seconds=2 * SOON))
        assert device.run("sleep 5", timeout_s=30).exit_code == 0
        device.confirm(NEW.id)
        assert device.slot().current == NEW.id


def test_a_dead_link_is_silence_though_nothing_closes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the agent writes goes into a link behind which nobody answers any more: the lease runs out in the middle of the command."""
    root = tmp_path / "root"
    with open_device(root) as device:
        deploy(device, tmp_path)
        device.activate(NEW.id, expected_current=OLD.id, lease=Lease(seconds=SOON))
        monkeypatch.setattr("ota.remote.dialogue._HERE", b"")
        said = device.run(f"sleep {4 * SOON}; readlink '{root}/current'", timeout_s=30)
        assert said.output == f"releases/{OLD.id}\n"
        with pytest.raises(RefusedError, match="nobody confirmed"):
            device.confirm(NEW.id)


def test_after_a_restart_the_next_agent_goes_back(tmp_path: Path) -> None:
    """A machine restarted within the lease has no watchdog any more: whoever changes something there next finds the earlier release."""
    root = tmp_path / "root"
    with open_device(root) as device:
        deploy(device, tmp_path)
        device.activate(NEW.id, expected_current=OLD.id, lease=Lease(seconds=3600))
    for pid in agents(root, watchdog=True):
        os.kill(pid, signal.SIGKILL)
    pending = json.loads((root / "pending.json").read_text())
    (root / "pending.json").write_text(json.dumps({**pending, "boot_id": "an earlier start"}))
    with open_device(root) as device:
        device.prune(3)
        slot = device.slot()
    assert (slot.current, slot.pending) == (OLD.id, None)
    assert slot.reverted is not None
    assert slot.reverted.why == f"the device was restarted before {NEW.id} was confirmed"


def test_a_rollback_needs_no_way_back(tmp_path: Path) -> None:
    """A rollback that nobody confirmed stays: there is nowhere better to go."""
    root = tmp_path / "root"
    with open_device(root) as device:
        deploy(device, tmp_path)
        device.activate(NEW.id, expected_current=OLD.id)
        device.confirm(NEW.id)
        device.rollback()
    with open_device(root) as device:
        device.prune(3)
        slot = device.slot()
    assert (slot.current, slot.pending) == (OLD.id, OLD.id)


def test_a_damaged_way_back_is_not_taken(tmp_path: Path) -> None:
    """Where the release before is damaged the one on trial stays, and the device takes a deployment that mends it."""
    root = tmp_path / "root"
    with open_device(root) as device:
        deploy(device, tmp_path)
        device.activate(NEW.id, expected_current=OLD.id, lease=Lease(seconds=SOON))
        damaged = root / "releases" / OLD.id / "model.tflite"
        damaged.unlink()
        damaged.write_bytes(b"rot")
        wait_for(lambda: not agents(root, watchdog=True))
    with open_device(root) as device:
        digest, path = blob(tmp_path, b"the old model")
        assert current(root) == NEW.id
        (root / "candidates" / digest.hex).unlink()
        device.put(BlobKind.CANDIDATE, digest, path)
        assert device.stage(OLD)
    with open_device(root) as device:
        device.prune(3)
        assert device.slot().current == OLD.id


def test_a_second_controller_gives_a_trial_its_watchdog_back(tmp_path: Path) -> None:
    """The agent and the watchdog died; a controller that activates the same release again and falls silent loses it all the same."""
    root = tmp_path / "root"
    with open_device(root) as device:
        deploy(device, tmp_path)
        device.activate(NEW.id, expected_current=OLD.id, lease=Lease(seconds=2 * SOON))
        for pid in agents(root, watchdog=True):
            os.kill(pid, signal.SIGKILL)
        assert not device.activate(NEW.id, expected_current=NEW.id, lease=Lease(seconds=2 * SOON)).changed
        wait_for(lambda: current(root) == OLD.id)
