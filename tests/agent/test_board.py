"""What a device says of the board it is: by a board that tells everything, and by this machine, whatever it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ota.core.facts import Facts
from ota.core.release import Digest
from tests.agent.boards import FINE, FIRMWARE, Board
from tests.remote.test_device import open_device, script

SERIAL = "10000000abcdef01"


def facts_of(board: Board, root: Path, before: str = "") -> Facts:
    """Return what an agent that sees `board` says of itself; `before` is a shell command that runs first."""
    lines = [f"export {name}='{value}'" for name, value in board.environment.items()]
    python = script(
        root.with_name("board-python"), "\n".join([*lines, before, f'exec {sys.executable} "$@"'])
    )
    with open_device(root, python) as device:
        return device.facts()


def test_a_board_that_tells_everything_is_known(tmp_path: Path) -> None:
    """Revision, digest of the serial number, firmware and the limits of each policy are what firmware and kernel say."""
    board = Board(tmp_path).identity(SERIAL, 0xC03111).firmware(FINE)
    board.limits((600_000, 1_500_000), (700_000, 2_400_000))
    facts = facts_of(board, tmp_path / "root")
    assert facts.board_revision == "c03111"
    assert facts.serial_sha256 == Digest.of(SERIAL.encode()).hex
    assert SERIAL not in repr(facts)
    assert facts.firmware == FIRMWARE
    assert facts.clock_limits_khz == ((600_000, 1_500_000), (700_000, 2_400_000))


def test_what_a_board_does_not_tell_is_empty(tmp_path: Path) -> None:
    """A board without device tree, firmware and cpufreq has facts all the same."""
    facts = facts_of(Board(tmp_path), tmp_path / "root")
    assert (facts.firmware, facts.clock_limits_khz) == ("", ())


@pytest.mark.parametrize("serial", ["", "0000000000000000"])
def test_a_serial_number_of_zeros_is_none(serial: str, tmp_path: Path) -> None:
    """Boards that were given no number do not all look like the same one."""
    assert facts_of(Board(tmp_path).identity(serial, 1), tmp_path / "root").serial_sha256 == ""


def test_a_firmware_that_never_answers_costs_seconds(tmp_path: Path) -> None:
    """A `vcgencmd` that hangs is ended, and the facts come without its word."""
    board = Board(tmp_path).firmware(FINE)
    (tmp_path / "bin" / "vcgencmd").write_text("#!/bin/sh\nexec sleep 60\n")
    assert facts_of(board, tmp_path / "root").firmware == ""


def test_limits_that_cannot_be_are_left_out(tmp_path: Path) -> None:
    """A policy whose least clock is above its highest is not told."""
    board = Board(tmp_path).limits((600_000, 1_500_000), (2, 1))
    assert facts_of(board, tmp_path / "root").clock_limits_khz == ((600_000, 1_500_000),)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")
def test_the_processors_that_benchmarks_may_run_on_are_told(tmp_path: Path) -> None:
    """An agent that was started on one processor says so, for its benchmark processes inherit that."""
    first = min(os.sched_getaffinity(0))
    pinned = f"{sys.executable} -c 'import os, sys; os.sched_setaffinity(os.getppid(), [{first}])'"
    assert facts_of(Board(tmp_path), tmp_path / "root", pinned).affinity == (first,)


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs /proc/cpuinfo")
def test_this_machine_is_told_in_the_right_form(tmp_path: Path) -> None:
    """Features are sorted words, each once; the clock is the monotonic one; processors are some of those that there are."""
    with open_device(tmp_path / "root") as device:
        facts = device.facts()
    assert list(facts.cpu_features) == sorted(set(facts.cpu_features))
    assert all(word and not word.isspace() for word in facts.cpu_features)
    assert "MONOTONIC" in facts.clock_source
    assert facts.affinity == tuple(sorted(os.sched_getaffinity(0)))
