"""Work in a forked process: each way in which it can end is an answer in words, and nothing else ends with it."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ota.agent.isolate import Tell, run

Work = Callable[[Tell], "dict[str, Any]"]


def _die(number: int) -> Work:
    def job(tell: Tell) -> dict[str, Any]:
        faulthandler.disable()
        tell({"phase": "run"})
        os.kill(os.getpid(), number)
        time.sleep(60)
        return {}

    return job


def _abort(tell: Tell) -> dict[str, Any]:
    faulthandler.disable()
    os.write(2, b"terminate called\nERROR: tensor 7 is broken\n")
    os.abort()


def _exit(tell: Tell) -> dict[str, Any]:
    tell({"phase": "run"})
    os._exit(0)


def _exhaust(tell: Tell) -> dict[str, Any]:
    raise MemoryError


def _complain(tell: Tell) -> dict[str, Any]:
    tell({"phase": "run"})
    raise ValueError("two\nlines")


def _hang(tell: Tell) -> dict[str, Any]:
    time.sleep(60)
    return {}


ENDS: dict[str, tuple[Work, dict[str, str]]] = {
    "a wild pointer": (_die(signal.SIGSEGV), {"kind": "run", "reason": "killed by SIGSEGV while running"}),
    "killed for memory": (
        _die(signal.SIGKILL),
        {"kind": "run", "reason": "killed by SIGKILL while running (out of memory?)"},
    ),
    "an instruction that the processor lacks": (
        _die(signal.SIGILL),
        {"kind": "run", "reason": "killed by SIGILL while running"},
    ),
    "an abort with last words": (
        _abort,
        {"kind": "load", "reason": "killed by SIGABRT while loading; ERROR: tensor 7 is broken"},
    ),
    "an end without a word": (_exit, {"kind": "run", "reason": "ended without an answer while running"}),
    "no memory": (_exhaust, {"kind": "load", "reason": "the device is out of memory"}),
    "an error": (_complain, {"kind": "run", "reason": "two lines"}),
    "no end": (_hang, {"kind": "load", "reason": "no answer after 0.5 s while loading"}),
}


def _children() -> set[int]:
    """Return the processes that we started and that are there, those that nobody has waited for among them."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = entry.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid():
            found.add(int(entry.parent.name))
    return found


@pytest.mark.parametrize(("job", "answer"), ENDS.values(), ids=ENDS.keys())
def test_every_end_is_an_answer(job: Work, answer: dict[str, str], tmp_path: Path) -> None:
    """Whatever becomes of the process, its answer says at which step and how, and the process is gone."""
    before = _children()
    assert run(job, 0.5 if job is _hang else 30.0, str(tmp_path / "said")) == answer
    assert _children() <= before


def test_work_that_nobody_waits_for_any_more_is_ended(tmp_path: Path) -> None:
    """When who asked closes the connection, the work is killed at once, and the process does not hold the connection open itself."""
    before = _children()
    ours, theirs = os.pipe()
    os.close(theirs)
    with pytest.raises(EOFError):
        run(_hang, 30.0, str(tmp_path / "said"), (ours,))
    os.close(ours)
    assert _children() <= before


def test_an_answer_comes_back_whole(tmp_path: Path) -> None:
    """An answer larger than a pipe holds arrives as it was given."""
    big = {"numbers": list(range(100_000))}
    assert run(lambda _tell: big, 30.0, str(tmp_path / "said")) == big
