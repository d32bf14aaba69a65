"""The most memory that a process has had; what getrusage tells is never less than that of whoever started it."""

from __future__ import annotations

import re
from pathlib import Path


def peak_mb(status: str = "") -> float:
    """Return the peak in MB by a process's /proc/PID/status, this process's unless said; ValueError where it is none."""
    text = status or Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise ValueError("no VmHWM")
    return int(found[1]) / 1024
