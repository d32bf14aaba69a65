"""Faults of a device's disk, owner and clock: refused before the first byte where that can be known, the old model live, nothing left over; real agents."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import HealthCheck
from ota.core.protocol import BlobKind
from ota.core.release import Release
from ota.errors import HostError
from ota.remote.answers import Lease
from ota.workflows.deploy_host import check_host, deploy_host
from tests.workflows.conftest import NEW, OLD, Bench

NOBODY = 65534
LARGE = b"....TFL3" + bytes(3_000_000)
FILL = "dd if=/dev/zero of=fill bs=4k 2>/dev/null"
LEFT_OVER = re.compile(r"\.tmp$|\.partial$|\.again$|\.gone-|pending\.json$")


def foreseen(fleet: Bench, release: Release) -> str:
    """Return what check mode says."""
    return check_host(fleet.host("a"), fleet.order(release), fleet.ends()).reason


def refused(fleet: Bench, release: Release) -> str:
    """Deploy what is refused before its first byte, as check mode foresees; return why."""
    before, said = fleet.files(), foreseen(fleet, release)
    outcome = deploy_host(fleet.host("a"), fleet.order(release), fleet.ends())
    assert (outcome.state, outcome.bytes_sent) == (HostState.FAILED, 0)
    assert said.endswith(f"and would be refused: {outcome.reason}")
    assert (fleet.files(), fleet.current()) == (before, OLD)
    return outcome.reason


def healed(fleet: Bench, content: bytes = NEW) -> None:
    """Deploy once more, which goes well, and leaves nothing over."""
    outcome = fleet.deploy(content)
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert fleet.current() == content
    assert [path for path in fleet.files() if LEFT_OVER.search(path)] == []


def wrapper(fleet: Bench, text: str) -> str:
    """Return a Python whose start is this shell script."""
    path = fleet.folder / "python"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Mount a disk in memory, where this user may."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs root and a kernel that mounts tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The root of device `a` is a disk of 3 MB of its own."""
    yield from mounted(tmp_path / "a", "3m")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """The root of device `a` is a disk too small for the agent."""
    yield from mounted(tmp_path / "a", "16k")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter."""
    with TemporaryDirectory(prefix="ota-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_read_only_disk_is_told_before_the_first_byte(disk: Path, fleet: Bench) -> None:
    """A card that went read-only: what it is and what to do; mounted for writing again, all is well."""
    fleet.deploy(OLD)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert refused(fleet, fleet.release(NEW)) == (
        f"{disk} is on a read-only file system; mount it for writing (a failing card goes read-only by itself: see dmesg)"
    )
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    healed(fleet)


def test_room_is_asked_for_all_files_of_a_release_at_once(disk: Path, fleet: Bench) -> None:
    """The first of two files would fit: nothing is sent all the same, and the missing bytes are those of both."""
    fleet.deploy(OLD)
    both = fleet.release(b"....TFL3" + bytes(900_000), labels=bytes(1_500_000))
    found = re.fullmatch(
        r"(\d+) bytes are missing on the disk of (.*) for 2400008 bytes of this release",
        refused(fleet, both),
    )
    assert found is not None
    numbers = os.statvfs(disk)
    assert int(found[1]) == 2_400_008 + 1024 * 1024 - numbers.f_bavail * numbers.f_frsize
    assert found[2] == str(disk)
    healed(fleet)


def test_what_is_here_of_a_cut_transfer_needs_no_room_again(disk: Path, fleet: Bench) -> None:
    """What arrived before the cut counts; the rest is sent."""
    fleet.deploy(OLD)
    content = b"....TFL3" + bytes(1_600_000)
    release = fleet.release(content)
    (disk / "candidates" / f"{release.model.digest.hex}.partial").write_bytes(content[:1_000_000])
    outcome = fleet.deploy(content)
    assert (outcome.state, outcome.bytes_sent) == (HostState.CONFIRMED, 600_008), outcome.reason


def test_a_disk_without_room_for_the_agent_says_how_much_it_needs(tiny_disk: Path, fleet: Bench) -> None:
    """The agent itself does not fit: its bytes are stated, and half an agent does not stay."""
    outcome = fleet.deploy(NEW)
    assert outcome.state is HostState.FAILED
    assert re.search(
        r"expected a folder that this user may write, with room for \d+ bytes, found .*No space left",
        outcome.reason,
    )
    assert list((tiny_disk / "agent").iterdir()) == []


@pytest.mark.parametrize("place", [".", "releases", "candidates", "journal.jsonl", "switch.lock"])
def test_what_belongs_to_another_user_is_told_before_the_first_byte(place: str, open_folder: Path) -> None:
    """Somebody ran something there as root: who owns what, and the command that mends it, which does."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv to be another user")
    fleet = Bench(open_folder)
    python = os.path.realpath("/usr/bin/python3")
    fleet.python = wrapper(
        fleet, f'exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups {python} "$@"\n'
    )
    root = fleet.root("a")
    root.mkdir()
    os.chown(root, NOBODY, NOBODY)
    fleet.deploy(OLD)
    path = os.path.normpath(root / place)
    os.chown(path, 0, 0)
    mend = f"chown -R {NOBODY} {path}"
    assert refused(fleet, fleet.release(NEW)) == (
        f"expected what user {NOBODY} may write, found {path} of user 0; as root on the device: {mend}"
    )
    subprocess.run(mend, shell=True, check=True)
    healed(fleet)


def test_a_file_where_a_folder_should_be_is_told_before_the_first_byte(fleet: Bench) -> None:
    """What is in the way is named; once it is gone all is well."""
    fleet.deploy(OLD)
    shutil.rmtree(fleet.root("a") / "candidates")
    in_the_way = fleet.root("a") / "candidates"
    in_the_way.touch()
    assert refused(fleet, fleet.release(NEW)) == (
        f"expected a folder at {in_the_way}, found something else; move it away"
    )
    in_the_way.unlink()
    healed(fleet)


@pytest.mark.parametrize("gone", ["candidates", "agent", "releases", "."])
def test_a_folder_that_is_gone_is_made_again(gone: str, fleet: Bench) -> None:
    """Whatever somebody removed, up to the whole root, the next run makes it."""
    fleet.deploy(OLD)
    shutil.rmtree(fleet.root("a") / gone)
    healed(fleet)


def failing(fleet: Bench, call: str, error: str, when: str) -> str:
    """Return a Python whose calls of that name fail from the `when` on, by strace."""
    if shutil.which("strace") is None:
        pytest.skip("strace, which lets a system call fail, is not here")
    inject = f"inject={call}:error={error}:when={when}"
    return wrapper(
        fleet, f'exec strace -f -qq -o /dev/null -e trace={call} -e {inject} {sys.executable} "$@"\n'
    )


def broken(fleet: Bench, content: bytes, *fault: str) -> HostOutcome:
    """Deploy while system calls of the agent fail."""
    fleet.deploy(OLD)
    whole, fleet.python = fleet.python, failing(fleet, *fault)
    outcome = fleet.deploy(content)
    fleet.python = whole
    assert (outcome.state, fleet.current()) == (HostState.FAILED, OLD), outcome.reason
    return outcome


def test_a_disk_that_fills_up_in_mid_transfer_states_what_is_missing(fleet: Bench) -> None:
    """Another program took the room that there was: what was written, what is missing; half a file does not stay to fill the disk."""
    outcome = broken(fleet, LARGE, "pwrite64", "ENOSPC", "3+")
    found = re.fullmatch(
        r"the disk is full at .*/a/candidates: (\d+) of 3000008 bytes were written, (\d+) are missing; make room there",
        outcome.reason,
    )
    assert found is not None, outcome.reason
    assert int(found[1]) + int(found[2]) == len(LARGE)
    assert [path for path in fleet.files() if LEFT_OVER.search(path)] == []
    healed(fleet, LARGE)


def test_a_disk_that_fails_says_so(fleet: Bench) -> None:
    """An I/O error in the middle of a transfer: named as such, with what to do, and nothing is left over."""
    outcome = broken(fleet, LARGE, "pwrite64", "EIO", "3+")
    assert f"({os.strerror(errno.EIO)}); see dmesg, the card may have to be replaced" in outcome.reason
    healed(fleet, LARGE)


def test_a_release_that_fills_the_disk_is_left_all_the_same(disk: Path, fleet: Bench) -> None:
    """The application writes the disk full in its trial: the way back needs no room, and the host is told rolled back."""
    fleet.deploy(OLD)
    outcome = fleet.deploy(NEW, health_check=HealthCheck(command=f"{FILL}; false", retries=0))
    assert (outcome.state, outcome.release) == (HostState.ROLLED_BACK, fleet.release(OLD).id), outcome.reason
    assert fleet.current() == OLD
    (disk / "fill").unlink()
    healed(fleet)


def test_a_trial_on_a_full_disk_ends_by_itself(disk: Path, fleet: Bench) -> None:
    """Nobody confirms it and nothing can be written: the watchdog goes back all the same, and has the application open what is current."""
    fleet.deploy(OLD)
    release, ran = fleet.release(NEW), fleet.folder / "ran"
    with fleet.connect(fleet.host("a")) as device:
        device.put(BlobKind.CANDIDATE, release.model.digest, fleet.blob(release.model.digest))
        device.stage(release)
        lease = Lease(seconds=1.0, after=(f"touch {ran}",), command_timeout_s=5.0)
        device.activate(release.id, expected_current=fleet.release(OLD).id, lease=lease)
        device.run(FILL, timeout_s=10.0)
    wait_for(ran.exists)
    assert fleet.current() == OLD
    assert not (disk / "pending.json").exists()
    (disk / "fill").unlink()
    healed(fleet)


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_a_cut_transfer_left_goes_with_the_next_release(fleet: Bench) -> None:
    """The release that was cut never comes again: its half does not stay for ever."""
    fleet.deploy(OLD)
    cut = fleet.release(LARGE)
    with fleet.connect(fleet.host("a")) as device, pytest.raises(HostError):
        device.put(
            BlobKind.CANDIDATE,
            cut.model.digest,
            fleet.blob(cut.model.digest),
            on_progress=lambda _done, _total: device.close(),
        )
    wait_for(lambda: any(path.endswith(".partial") for path in fleet.files()))
    healed(fleet)


IN_1970 = (
    "import sys, time; real = time.time; began = real(); time.time = lambda: real() - began; "
    "source = sys.argv[1]; sys.argv = ['-c', *sys.argv[2:]]; exec(source)"
)
"""Runs the bootstrap that is its argument in a process whose clock began with it."""


def test_a_board_that_thinks_it_is_1970_is_deployed_to_and_pruned(fleet: Bench) -> None:
    """Without a clock of its own: deployed, gone back, pruned, in the right order; the journal stays whole once the time is known."""
    in_1970 = wrapper(fleet, f'shift 2\nexec {sys.executable} -I -c "{IN_1970}" "$@"\n')
    contents = [b"....TFL3 number %d" % number for number in range(4)]
    for content, python in zip(contents, (sys.executable, in_1970, in_1970, sys.executable), strict=True):
        fleet.python = python
        outcome = fleet.deploy(content, keep_releases=2, lease_s=30.0)
        assert outcome.state is HostState.CONFIRMED, outcome.reason
    kept = {path.name for path in (fleet.root("a") / "releases").iterdir()}
    assert kept == {fleet.release(content).id for content in contents[-2:]}
    lines = [json.loads(line) for line in (fleet.root("a") / "journal.jsonl").read_text().splitlines()]
    assert min(line["time"] for line in lines) < 1000.0 < max(line["time"] for line in lines)
    fleet.python = in_1970
    assert fleet.rollback().state is HostState.CONFIRMED
    assert fleet.current() == contents[-2]
    with fleet.connect(fleet.host("a")) as device:
        assert device.verify().journal.broken is None
