"""What this device says of itself."""

from __future__ import annotations

import json
import os
import platform
import socket
import struct
import subprocess
import sys
from typing import Any, Dict, List

from . import conditions, files
from .board import board

_MARKER = "proven.json"


def facts(root: str) -> Dict[str, Any]:
    """Return the facts as plain values; what a board does not tell is empty or 0."""
    memory = conditions.memory()
    return {
        **board(),
        "boot_id": (files.read_text("/proc/sys/kernel/random/boot_id") or socket.gethostname()).strip(),
        "architecture": platform.machine(),
        "python": list(sys.version_info[:3]),
        "python_executable": sys.executable,
        "python_bits": struct.calcsize("P") * 8,
        "libc": _libc(),
        "system_numpy": _system_numpy(),
        "memory_total_bytes": memory.get("MemTotal", 0),
        "memory_available_bytes": conditions.available(memory) or 0,
        "disk_free_bytes": files.free_bytes(root),
        "cpu_model": model(),
        "cpu_count": os.cpu_count() or 1,
        "os": _os_name(),
        "kernel": platform.release(),
        "hostname": socket.gethostname(),
        "root": root,
        "runtimes": runtimes(root),
    }


def runtimes(root: str) -> List[Dict[str, Any]]:
    """Return the runtimes that were proven here, as they were noted then."""
    folder = os.path.join(root, "runtime")
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        text = files.read_text(os.path.join(folder, name, _MARKER))
        if text:
            try:
                found.append(json.loads(text))
            except ValueError:
                continue
    return found


def model() -> str:
    """Return the board's model, else the processor's, empty where neither is told."""
    board = files.read_text("/proc/device-tree/model")
    if board:
        return board.strip("\0\n ")
    for line in (files.read_text("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Hardware", "Model"):
            return value.strip()
    return platform.processor()


def _os_name() -> str:
    for line in (files.read_text("/etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'")
    return platform.system()


def _libc() -> str:
    name, version = platform.libc_ver()
    if name == "glibc" and version:
        return "glibc " + version
    try:
        told = subprocess.run(
            ["/usr/bin/env", "ldd", "--version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=10,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        told = b""
    if b"musl" in told or any("musl" in name for name in _names("/lib")):
        return "musl"
    return (name + " " + version).strip()


def _names(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _system_numpy() -> str:
    """Ask in a process of its own: a broken numpy must not take the agent with it."""
    code = "import numpy; print(numpy.__version__)"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("ascii", "replace").strip()[:40] if done.returncode == 0 else ""
