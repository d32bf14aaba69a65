"""What the comparison of fleet tools rests on: its measuring, its lines and its table."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.rivals.measured import Command, Run, measure
from benchmarks.rivals.relay import Line, Lines, way_of
from benchmarks.rivals.table import plot, ratio, table

BUSY = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.4: pass"


def run(wall_s: float, cpu_s: float = 1.0) -> Run:
    """Return a run."""
    return Run(wall_s=wall_s, cpu_s=cpu_s, peak_bytes=0, wire_bytes=1000, code=0, said="")


def test_what_a_tool_leaves_in_the_background_is_counted_and_ended(tmp_path: Path) -> None:
    """A process that the tool detached, as Ansible does with ssh, costs what it costs, and is gone afterwards."""
    left = tmp_path / "left"
    detached = f"import os, sys; os.fork() and sys.exit(); os.setsid(); {BUSY}\nopen({str(left)!r}, 'w').close(); time.sleep(60)"
    waits = f"import pathlib, subprocess, sys, time; subprocess.run([sys.executable, '-c', {detached!r}])\nwhile not pathlib.Path({str(left)!r}).exists(): time.sleep(0.01)"
    done = measure(
        Command(argv=(sys.executable, "-c", waits), cwd=tmp_path, environment={}), interface=None, memory=True
    )
    assert done.code == 0, done.said
    assert 0.4 <= done.cpu_s < 3.0
    assert done.wall_s < 30.0
    assert done.peak_bytes > 1_000_000
    assert done.wire_bytes is None


def test_a_tool_that_fails_says_how(tmp_path: Path) -> None:
    """Exit code and last words come back, and nothing raises."""
    command = Command(
        argv=("/bin/sh", "-c", "echo no $WHAT; exit 3"), cwd=tmp_path, environment={"WHAT": "way"}
    )
    done = measure(command, interface=None)
    assert (done.code, done.said.strip()) == (3, "no way")


def test_a_line_has_a_rate_a_delay_and_a_queue_that_ends() -> None:
    """1,250 bytes take 10 ms at 1 Mbit/s, the next waits for them, and what would wait too long is lost."""
    lines = Lines(Line(rate_kbit=1000, delay_ms=150, loss_percent=0, queue_s=0.025))
    arrivals = [lines.enter(0.0, b"d1", 1250) for _ in range(3)]
    assert arrivals == [pytest.approx(0.16), pytest.approx(0.17), None]
    assert lines.enter(0.0, b"d2", 1250) == pytest.approx(0.16), "each device has a line of its own"


def test_a_line_loses_frames_at_its_rate_and_the_same_ones_again() -> None:
    """1 % of 20,000 frames, seeded."""
    lost = []
    for _ in range(2):
        lines = Lines(Line(rate_kbit=1e9, delay_ms=0, loss_percent=1))
        lost.append([number for number in range(20_000) if lines.enter(number, b"d1", 100) is None])
    assert lost[0] == lost[1]
    assert 140 <= len(lost[0]) <= 260


def test_a_frame_takes_the_line_of_its_device_and_others_none() -> None:
    """Down by where it goes, up by where it comes from; ARP is held up by nothing."""
    frame = bytes(12) + b"\x08\x00" + bytes(12) + bytes((10, 77, 1, 3)) + bytes((10, 77, 0, 1)) + bytes(20)
    assert way_of(frame, down=False) == b"u" + bytes((10, 77, 1, 3))
    assert way_of(frame, down=True) == b"d" + bytes((10, 77, 0, 1))
    assert way_of(bytes(12) + b"\x08\x06" + bytes(28), down=True) is None


def test_the_table_has_every_tool_as_a_ratio_to_ota_round_by_round() -> None:
    """Twice and four times as slow in two rounds: a median of 3 with both ends; the fastest tool comes first."""
    runs = {"ota": [run(1.0), run(2.0)], "slow": [run(2.0), run(8.0)]}
    spread = ratio(runs, "slow", lambda one: one.wall_s)
    assert (spread.low, spread.median, spread.high) == (2.0, 3.0, 4.0)
    text = table(runs, {"ota": "deploy", "slow": "slowly"}, {"ota": 10_000_000, "slow": 5_000_000})
    rows = text.splitlines()[2:4]
    assert rows[0].startswith("| ota | deploy | 1.50 (1.00 to 2.00) | 1.00 |")
    assert rows[1] == "| slow | slowly | 5.00 (2.00 to 8.00) | 3.00 (2.00 to 4.00) | 1.00 | 0.50 | 1.000 |"
    assert plot({"loopback": runs}).startswith('<svg xmlns="http://www.w3.org/2000/svg"')
