"""What the board is made of, for the record of what was measured on it: nothing is decided by it.

Invariant: the serial number is digested here and goes no further. Sources: the device tree as the kernel shows it under /sys/firmware, `linux,revision` and the
lines Revision and Serial of /proc/cpuinfo as Raspberry Pi's kernels write them, the kernel's documentation of cpufreq.
"""

from __future__ import annotations

import glob
import hashlib
import os
import time
from typing import Any, Dict, List, Optional

from . import conditions, files

_TREE = "firmware/devicetree/base"
_MOST_FEATURES = 1024
_MOST_LETTERS = 64
_MOST_WORDS = 200
_MOST_SERIAL = 200


def board() -> Dict[str, Any]:
    """Return as plain values what does not change while the board runs; what it does not tell is empty."""
    processors = _processors()
    return {
        "board_revision": _revision() or _one(processors, "Revision")[:_MOST_WORDS],
        "serial_sha256": _serial(processors),
        "firmware": _firmware(),
        "cpu_features": _features(processors),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        "clock_limits_khz": _clock_limits(),
        "clock_source": _clock_source(),
    }


def _processors() -> Dict[str, List[str]]:
    """Return each name in /proc/cpuinfo with all its values, in their order."""
    found = {}  # type: Dict[str, List[str]]
    for line in (files.read_text("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), []).append(value.strip())
    return found


def _one(processors: Dict[str, List[str]], name: str) -> str:
    return processors.get(name, [""])[0]


def _revision() -> str:
    """Return the one big-endian number of 32 bits that the device tree holds, in hex as /proc/cpuinfo has it."""
    try:
        with open(conditions.sys_path(_TREE + "/system/linux,revision"), "rb") as file:
            content = file.read(5)
    except OSError:
        return ""
    return "%04x" % int.from_bytes(content, "big") if len(content) == 4 else ""


def _serial(processors: Dict[str, List[str]]) -> str:
    """Return the digest of the serial number; one of zeros stands for none."""
    told = files.read_text(conditions.sys_path(_TREE + "/serial-number"), _MOST_SERIAL)
    serial = (told or _one(processors, "Serial")).strip("\0\n ")[:_MOST_SERIAL]
    return hashlib.sha256(serial.encode("utf-8")).hexdigest() if serial.strip("0") else ""


def _firmware() -> str:
    """Return the line that tells builds apart; the others are a date and a copyright."""
    for line in conditions.ask_firmware("version").splitlines():
        if line.startswith("version "):
            return line[len("version ") :].strip()[:_MOST_WORDS]
    return ""


def _features(processors: Dict[str, List[str]]) -> List[str]:
    """Return what every processor has: those of one board may differ."""
    lines = [set(line.split()) for name in ("flags", "Features") for line in processors.get(name, ())]
    shared = set.intersection(*lines) if lines else set()
    return sorted(word for word in shared if len(word) <= _MOST_LETTERS)[:_MOST_FEATURES]


def _clock_limits() -> List[int]:
    """Return the least and the highest clock of each policy, one after the other; those that are set count before those that the hardware has."""
    policies = glob.glob(conditions.sys_path("devices/system/cpu/cpufreq/policy[0-9]*"))
    ends = []  # type: List[int]
    for folder in sorted(policies, key=lambda path: (len(path), path)):
        least, most = _limit(folder, "min"), _limit(folder, "max")
        if least is not None and most is not None and 0 <= least <= most:
            ends += [least, most]
    return ends


def _limit(folder: str, end: str) -> Optional[int]:
    value = conditions.number_in(os.path.join(folder, "scaling_%s_freq" % end))
    return value if value is not None else conditions.number_in(os.path.join(folder, "cpuinfo_%s_freq" % end))


def _clock_source() -> str:
    kernel = files.read_text(
        conditions.sys_path("devices/system/clocksource/clocksource0/current_clocksource"), _MOST_WORDS
    )
    named = (time.get_clock_info("perf_counter").implementation, (kernel or "").strip())
    return ", ".join(name for name in named if name)[:_MOST_WORDS]
