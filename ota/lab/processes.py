"""Processes that outlive the command that started them, known by pid and start time, so that no stranger is ever ended."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path


def start_time(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def note(path: Path, pid: int) -> None:
    """Write down a process that we started."""
    path.write_text(f"{pid} {start_time(pid)}\n", encoding="ascii")


def noted(path: Path) -> int | None:
    """Return the pid written at `path` if that process still runs, None otherwise."""
    try:
        pid, started = path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return int(pid) if start_time(int(pid)) == started else None


def end(path: Path) -> None:
    """End the process written at `path`, if it still runs, and those it leads."""
    pid = noted(path)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: noted(path) is None, 3.0)
    path.unlink(missing_ok=True)


def wait_until(true: object, seconds: float) -> bool:
    """Return whether the function `true` became so within `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if callable(true) and true():
            return True
        time.sleep(0.02)
    return bool(callable(true) and true())


def listens(port: int) -> bool:
    """Return whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
