"""The lock that lets one benchmark at a time run on a machine: who waits, who is refused, and files in its place that are no lock."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ota.agent.dialogue import RefusedError
from ota.agent.machine import NAME, alone


def test_a_second_benchmark_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    """While one holds the machine another waits its time, hears that it waits and is refused in words; afterwards it gets it."""
    told: list[None] = []
    folders = [str(tmp_path)]
    with alone(lambda: None, 0.0, folders):
        with (
            pytest.raises(RefusedError, match="another benchmark has been running on this machine"),
            alone(lambda: told.append(None), 0.3, folders),
        ):
            raise AssertionError("two benchmarks at once")
        assert told
    with alone(lambda: None, 0.0, folders):
        assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o644


def test_another_users_folder_permissions_do_not_part_the_lock(tmp_path: Path) -> None:
    """Made under a umask that shuts others out, the file can be opened by them all the same."""
    before = os.umask(0o077)
    try:
        with alone(lambda: None, 0.0, [str(tmp_path)]):
            assert (tmp_path / NAME).stat().st_mode & stat.S_IROTH
    finally:
        os.umask(before)


def _link(path: Path) -> None:
    (path.parent / "victim").write_text("precious")
    path.symlink_to(path.parent / "victim")


TRAPS: dict[str, Callable[[Path], None]] = {
    "a link": _link,
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("lay", TRAPS.values(), ids=TRAPS.keys())
def test_what_is_no_plain_file_is_left_alone(lay: Callable[[Path], None], tmp_path: Path) -> None:
    """Something else under the lock's name is neither followed nor waited for: the next folder serves."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    lay(first / NAME)
    with alone(lambda: None, 0.0, [str(first), str(second)]):
        assert (second / NAME).is_file()
    assert not (first / "victim").exists() or (first / "victim").read_text() == "precious"


def test_a_machine_without_such_a_folder_is_measured_all_the_same(tmp_path: Path) -> None:
    """Where no lock can be had at all, nobody is refused."""
    absent = [str(tmp_path / "absent")]
    with alone(lambda: None, 0.0, absent), alone(lambda: None, 0.0, absent):
        assert not (tmp_path / "absent").exists()
