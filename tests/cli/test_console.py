"""What a person sees of a rollout: every step of a few hosts, of many what is wrong and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ota.cli.console import Watcher
from ota.core.events import BatchMoved, BatchStarted, Progressed, StepFinished


def told(capsys: pytest.CaptureFixture[str], hosts: Sequence[str], *, verbose: int = 0) -> list[str]:
    """Return the lines of a batch in which every tenth host fails."""
    with Watcher(quiet=False, verbose=verbose) as watcher:
        watcher.emit(BatchStarted(number=2, of=3, hosts=tuple(hosts)))
        for done, host in enumerate(hosts, 1):
            watcher.emit(StepFinished(host=host, step="activate", result="changed", detail="new"))
            if done % 10 == 0:
                watcher.emit(StepFinished(host=host, step="failed", result="failed", detail="no"))
            watcher.emit(BatchMoved(number=2, done=done, of=len(hosts), bad=done // 10))
    return capsys.readouterr().err.splitlines()


def test_each_step_of_a_few_hosts_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """By name, and the batch with all of its hosts."""
    lines = told(capsys, [f"h{number}" for number in range(1, 11)])
    assert lines[0].startswith("BATCH 2 of 3: h1, h2, h3")
    assert len([line for line in lines if "activate: new" in line]) == 10
    assert lines[-1].strip() == "failed  h10: failed: no"


def test_of_many_hosts_those_in_trouble_are_told_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """And ten times in all how far the batch has come."""
    lines = told(capsys, [f"h{number}" for number in range(1, 201)])
    assert lines[0] == "BATCH 2 of 3: 200 hosts, h1 to h200"
    assert not any("activate" in line for line in lines)
    assert len([line for line in lines if line.strip().startswith("failed  h")]) == 20
    moves = [line.strip() for line in lines if line.strip().startswith("done")]
    assert len(moves) == 10
    assert moves[0] == "done  20 of 200 hosts of batch 2, 2 failed"
    assert moves[-1] == "done  200 of 200 hosts of batch 2, 20 failed"


def test_who_asks_for_more_is_told_all(capsys: pytest.CaptureFixture[str]) -> None:
    """With -v every step of many hosts is a line."""
    lines = told(capsys, [f"h{number}" for number in range(1, 201)], verbose=1)
    assert len([line for line in lines if "activate: new" in line]) == 200


def test_a_slow_host_among_many_gets_a_bar_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal: the batch's bar, and the host whose step has lasted for a while; not the one that has just begun."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    now = 100.0
    monkeypatch.setattr("ota.cli.console.time.monotonic", lambda: now)
    with Watcher(quiet=False) as watcher:
        watcher.emit(BatchStarted(number=1, of=1, hosts=tuple(f"h{number}" for number in range(200))))
        watcher.emit(Progressed(host="h7", step="transfer", done=1, total=9))
        now += 6.0
        watcher.emit(Progressed(host="h7", step="transfer", done=2, total=9))
        watcher.emit(Progressed(host="h8", step="transfer", done=1, total=9))
        watcher.emit(BatchMoved(number=1, done=11, of=200, bad=1))
        shown = watcher.bars
        watcher.emit(StepFinished(host="h7", step="transfer", result="changed"))
        left = watcher.bars
    assert shown == ("h7: transfer", "batch 1, 1 failed")
    assert left == ("batch 1, 1 failed",)
    assert "PLAY" not in capsys.readouterr().out
