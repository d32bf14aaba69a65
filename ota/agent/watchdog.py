"""The watchdog of a trial: a process of its own that goes back when nobody has confirmed, whatever became of the dialogue and of the controller."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Dict, List

from . import files, journal, slot, trial
from .dialogue import RefusedError

_LOOK_S = 1.0


def start(root: str, name: str) -> None:
    """Start the watchdog of the trial of that name, detached from this dialogue; RefusedError where the device cannot.

    It is forked, for another start of Python would cost a board more than all the rest of an activation.
    """
    try:
        child = os.fork()
    except OSError as error:
        raise RefusedError(
            "no_watchdog", "the watchdog does not start: %s" % (error.strerror or error)
        ) from error
    if not child:
        _be_watchdog(root, name)
    if os.waitpid(child, 0)[1]:
        raise RefusedError("no_watchdog", "the watchdog does not start: its process ended")


def _be_watchdog(root: str, name: str) -> None:
    """Leave the dialogue's session, files and working folder behind, watch, and end; never returns."""
    code = 1
    try:
        os.setsid()
        if os.fork():
            code = 0
            return
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        # The dialogue's locks among them, which would be held for as long as this process has them.
        os.closerange(3, _most_files())
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        if _has_commands(root):
            # What these need is loaded while the disk is well: it may be a failing one that ends the trial.
            from . import commands  # noqa: F401
        watch(root, name)
        code = 0
    finally:
        os._exit(code)


def _has_commands(root: str) -> bool:
    """Say whether commands have to run after a return, as far as that can be read."""
    try:
        record = trial.read(root)
    except OSError:
        return True
    return record is None or bool(record.get("after"))


def _most_files() -> int:
    """Return the number above all of this process's open files."""
    return 1 + max(int(number) for number in os.listdir("/proc/self/fd"))


def watch(root: str, name: str) -> None:
    """Wait until the trial of that name has ended; go back where nobody has confirmed it."""
    while True:
        try:
            record = trial.read(root)
            if record is None or record.get("trial") != name:
                return
            if trial.ended(record):
                lapse(root)
                return
            left = float(record["until"]) - trial.now()
        except OSError:
            left = _LOOK_S  # a disk that fails now may answer later, and nobody else is watching
        time.sleep(min(_LOOK_S, max(0.01, left)))


def lapse(root: str, run_commands: bool = True) -> List[Dict[str, Any]]:
    """Go back where a trial has ended without confirmation, and run the commands after an activation again; return how those ended.

    Where nothing has to be done nothing is.
    """
    record = slot.lapse(root)
    if record is None or not run_commands or record.get("from") is None:
        return []
    done = []
    for one in record.get("after") or []:
        from . import commands

        ended = commands.run(one["command"], one["timeout_s"], root)
        with trial.switching(root), files.unless_full():
            journal.append(root, "after", record["from"], "%s: %d" % (one["command"], ended["exit_code"]))
        done.append(ended)
    return done
