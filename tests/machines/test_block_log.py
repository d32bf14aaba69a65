"""A real ext4 under a block write log: which disks a cut may leave, and what is found on those of the agent and of an unsafe switch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.machines.block_log import Entry, Recording, cuts, make_disk, missing, mounted
from benchmarks.proofs.write_log import agent, examine, unsafe

recorded = pytest.mark.skipif(bool(missing()), reason=missing())


def write(place: int, letter: bytes, *, durable: bool = False) -> Entry:
    """Return the write of one letter."""
    return Entry(offset=place, data=letter, is_flush=False, is_durable=durable)


FLUSH = Entry(offset=0, data=b"", is_flush=True, is_durable=False)
DISKS = {
    "nothing written": ((), [(0, b"....")]),
    "a write may be lost": ((write(0, b"a"),), [(0, b"...."), (1, b"a..."), (1, b"....")]),
    "a flushed write stays": (
        (write(0, b"a"), FLUSH),
        [(0, b"...."), (1, b"a..."), (1, b"...."), (2, b"a...")],
    ),
    "a durable write needs no flush": ((write(3, b"d", durable=True),), [(0, b"...."), (1, b"...d")]),
    "what follows a flush may be lost": (
        (write(0, b"a"), FLUSH, write(0, b"b")),
        [(0, b"...."), (1, b"a..."), (1, b"...."), (2, b"a..."), (3, b"b..."), (3, b"a...")],
    ),
}


@pytest.mark.parametrize(("entries", "disks"), DISKS.values(), ids=DISKS.keys())
def test_a_cut_loses_only_what_no_flush_followed(
    entries: tuple[Entry, ...], disks: list[tuple[int, bytes]]
) -> None:
    """At each entry there is the disk with everything, and the one without what may be lost."""
    assert [(cut.after, cut.content) for cut in cuts(b"....", entries, draws=0)] == disks


def test_random_parts_are_the_same_each_time_and_tear_long_writes() -> None:
    """A seed gives the same disks again; of a write of several blocks some may be there without the others."""
    entries = (Entry(offset=0, data=b"x" * 8 * 4096, is_flush=False, is_durable=False),)
    start = bytes(8 * 4096)
    first, again = (list(cuts(start, entries, draws=5, seed=7)) for _ in range(2))
    assert first == again
    assert any(0 < cut.lost < 8 and cut.content.count(b"x") == 4096 * (8 - cut.lost) for cut in first)


@recorded
def test_a_synced_file_is_on_the_disk_rebuilt_from_the_log(tmp_path: Path) -> None:
    """All entries together are the served disk, and what was synced is there even where all that was not flushed is lost."""
    disk = tmp_path / "disk.img"
    make_disk(disk)
    start = disk.read_bytes()
    recording = Recording(disk)
    with recording as served, mounted(served, tmp_path / "mount") as here:
        with (here / "kept").open("wb") as file:
            file.write(b"kept" * 5000)
            os.fsync(file.fileno())
        entries = recording.entries()
    *_, last = cuts(start, entries, draws=0)
    (tmp_path / "cut.img").write_bytes(last.content)
    with mounted(tmp_path / "cut.img", tmp_path / "mount") as here:
        assert (here / "kept").read_bytes() == b"kept" * 5000


@recorded
@pytest.mark.timeout(600)
def test_the_agents_work_survives_a_cut_on_a_real_ext4(tmp_path: Path) -> None:
    """Every eighth disk that a cut may leave of deployments and a rollback holds the old release or the new one, whole, and the next run converges."""
    verdict = examine(agent, tmp_path, draws=1, every=8)
    assert verdict.bad == []
    assert verdict.states > 30
    assert verdict.converged > 0


@recorded
@pytest.mark.timeout(600)
def test_an_unsafe_switch_does_not(tmp_path: Path) -> None:
    """A switch by unlink and symlink without a sync leaves an empty file, or the old release after it was acknowledged."""
    verdict = examine(unsafe, tmp_path, draws=1)
    assert any("is not that of the release" in text for text in verdict.bad)
    assert any(text.startswith("current is") for text in verdict.bad)
