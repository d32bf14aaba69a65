"""How this device is: heat, clock, power and what else runs; what a board does not tell is None or empty, never a fault.

`OTA_SYSFS` names another folder than /sys, for boards that keep these files elsewhere; `vcgencmd` is looked for on the PATH and where Raspberry Pi OS keeps it.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import time
from typing import Any, Dict, List, Optional, Tuple

from . import files

_FIRMWARE = ("/usr/bin/vcgencmd", "/opt/vc/bin/vcgencmd")
_LEAST_C, _MOST_C = -40.0, 150.0
_VCGENCMD_S = 2.0
_MOST_SAID = 4096
_WAKING_S = 0.05
"""So long a governor that follows the load takes to bring an idle clock up."""


def now() -> Dict[str, Any]:
    """Return the conditions of this moment."""
    return {
        "throttled": _throttled(),
        "clock_khz": _clocks(),
        "governor": _governor(),
        "temperature_c": temperature(),
        "load_1m": os.getloadavg()[0],
        "boot_id": (files.read_text("/proc/sys/kernel/random/boot_id") or "").strip(),
        "memory_available_bytes": available(memory()),
    }


def memory() -> Dict[str, int]:
    """Return the kernel's account of the memory, in bytes by its own names; empty where there is none."""
    numbers = {}
    for line in (files.read_text("/proc/meminfo") or "").splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            numbers[words[0].rstrip(":")] = int(words[1]) * 1024
    return numbers


def available(numbers: Dict[str, int]) -> Optional[int]:
    """Return of `memory` how much programs could still get, None where that is not told."""
    return numbers.get("MemAvailable", numbers.get("MemFree"))


def ask_firmware(word: str) -> str:
    """Return what `vcgencmd` answers to one word, empty where there is none or it does not answer in time."""
    program = shutil.which("vcgencmd") or next((path for path in _FIRMWARE if os.access(path, os.X_OK)), None)
    if program is None:
        return ""
    try:
        said = subprocess.run(
            [program, word],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_VCGENCMD_S,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said[:_MOST_SAID].decode("ascii", "replace")


def sys_path(path: str) -> str:
    """Return the place of `path` under /sys, or under what stands for it."""
    return os.path.join(os.environ.get("OTA_SYSFS") or "/sys", path)


def number_in(path: str) -> Optional[int]:
    """Return the whole number that a file holds, None where it holds none."""
    try:
        return int((files.read_text(path) or "").strip())
    except ValueError:
        return None


def temperature() -> Optional[float]:
    """Return the highest temperature of the board's thermal zones in degrees Celsius, None where it has none."""
    found = []
    for path in glob.glob(sys_path("class/thermal/thermal_zone*/temp")):
        value = number_in(path)
        if value is not None and _LEAST_C <= value / 1000.0 <= _MOST_C:
            found.append(value / 1000.0)
    return max(found) if found else None


class Surroundings:
    """What else used the processors since this was made; `pids` are this agent and its processes that live: what ended ones used is part of its own."""

    def __init__(self, pids: List[int]) -> None:
        self._began = time.monotonic()
        self._before = _processors()
        self._own = sum(_spent(pid) for pid in pids)

    def since(self, pids: List[int]) -> Dict[str, float]:
        """Return seconds, and the shares (0 to 1) of all processors' time that other programs and other machines took."""
        now = _processors()
        busy, stolen, total = (now[place] - self._before[place] for place in range(3))
        own = sum(_spent(pid) for pid in pids) - self._own
        whole = max(1, total)
        return {
            "seconds": time.monotonic() - self._began,
            "busy_other": min(1.0, max(0.0, (busy - own) / whole)),
            "stolen": min(1.0, max(0.0, stolen / whole)),
        }


def _throttled() -> Optional[int]:
    try:
        return int(ask_firmware("get_throttled").strip().partition("=")[2], 16) & 0xFFFFFFFF
    except ValueError:
        return None


def _clocks() -> List[int]:
    """Return the clocks in kHz under load: that of an idle processor says nothing."""
    if _governor() not in ("", "performance"):
        until = time.monotonic() + _WAKING_S
        while time.monotonic() < until:
            pass
    values = [
        number_in(path)
        for path in sorted(
            glob.glob(sys_path("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")),
            key=lambda path: (len(path), path),
        )
    ]
    return [value for value in values if value is not None and value > 0]


def _governor() -> str:
    return (files.read_text(sys_path("devices/system/cpu/cpu0/cpufreq/scaling_governor")) or "").strip()[:40]


def _processors() -> Tuple[int, int, int]:
    """Return (busy, stolen, all) of all processors since boot, in clock ticks."""
    first = (files.read_text("/proc/stat") or "").split("\n", 1)[0].split()[1:]
    ticks = [int(word) for word in first[:8]] + [0] * (8 - len(first[:8]))
    user, nice, system, idle, waiting, irq, softirq, stolen = ticks
    return (
        user + nice + system + irq + softirq,
        stolen,
        sum((user, nice, system, idle, waiting, irq, softirq, stolen)),
    )


def _spent(pid: int) -> int:
    """Return the clock ticks that a process and its ended children have used."""
    text = files.read_text("/proc/%d/stat" % pid) or ""
    words = text.rpartition(")")[2].split()
    return sum(int(word) for word in words[11:15]) if len(words) > 15 else 0
