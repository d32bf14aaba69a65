"""The watchdog of a trial: a process of its own that goes back when nobody has confirmed, whatever became of the dialogue and of the controller."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any, Dict, List

from . import commands, files, journal, slot, trial
from .dialogue import RefusedError

_START = "import sys; sys.path.insert(0, sys.argv[1]); from agent.watchdog import watch; watch(sys.argv[2], sys.argv[3])"
_LOOK_S = 1.0


def start(agent_path: str, root: str, name: str) -> None:
    """Start the watchdog of the trial of that name, detached from this dialogue; RefusedError where the device cannot."""
    try:
        subprocess.Popen(
            [sys.executable, "-I", "-c", _START, agent_path, root, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise RefusedError(
            "no_watchdog", "the watchdog does not start: %s" % (error.strerror or error)
        ) from error


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
        ended = commands.run(one["command"], one["timeout_s"], root)
        with trial.switching(root), files.unless_full():
            journal.append(root, "after", record["from"], "%s: %d" % (one["command"], ended["exit_code"]))
        done.append(ended)
    return done
