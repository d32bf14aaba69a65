"""Processes that outlive the command which started them: found and ended by pid file, and only where they are really ours.

A pid file may be older than the last boot, so a pid counts only where that process was started with `marker`, the absolute path of its config.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_POLL_S = 0.01
_GRACE_S = 5.0


def running_pid(pid_file: Path, marker: Path) -> int | None:
    """Return the pid in the file where that process runs and is ours, else None."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if pid > 1 and str(marker) in _command_line(pid) else None


def end(pid_file: Path, marker: Path) -> bool:
    """End the process, politely first, and remove the pid file; return whether one ran."""
    pid = running_pid(pid_file, marker)
    if pid is not None:
        for word in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.kill(pid, word)
            if wait_until(lambda: running_pid(pid_file, marker) is None, _GRACE_S):
                break
    pid_file.unlink(missing_ok=True)
    return pid is not None


def wait_until(holds: Callable[[], bool], limit_s: float) -> bool:
    """Wait until `holds` is true; return whether it became so within the limit."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _command_line(pid: int) -> str:
    """Return how a process was started; empty for one that is gone or waits to be reaped."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            return ""
    listed = subprocess.run(
        ("/bin/ps", "-ww", "-o", "command=", "-p", str(pid)),
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout
