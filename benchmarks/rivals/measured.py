"""One run of a tool, measured: wall time, processor time of all that it started, the most memory that these held at once, bytes on the wire.

Run as a program of its own, which becomes the parent of whatever the tool leaves in the background (Ansible's ssh masters), ends that, and so
counts it too. The daemons that the tool talks to are nobody's child here and are not counted.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SUBREAPER = 36
_SAMPLE_S = 0.02
_GRACE_S = 2.0
TIMEOUT_S = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is run: words, working folder, and what its environment has besides ours."""

    argv: tuple[str, ...]
    cwd: Path
    environment: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run took; `peak_bytes` is 0 where memory was not watched, `wire_bytes` None where nobody counts."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    wire_bytes: int | None
    code: int
    said: str


def measure(command: Command, *, interface: str | None, memory: bool = False) -> Run:
    """Run a tool to its end; `interface` is where its bytes go by, in a network namespace that nobody else uses."""
    asked = {
        "argv": command.argv,
        "cwd": str(command.cwd),
        "environment": command.environment,
        "memory": memory,
    }
    before = _counted(interface)
    done = subprocess.run(
        [sys.executable, "-I", __file__], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    after = _counted(interface)
    wire = None if before is None or after is None else after - before
    return Run(**json.loads(done.stdout), wire_bytes=wire)


def _counted(interface: str | None) -> int | None:
    """Return the bytes that an interface has carried, each once, headers included."""
    for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines() if interface else ():
        name, _, numbers = line.partition(":")
        if name.strip() == interface:
            received, sent = int(numbers.split()[0]), int(numbers.split()[8])
            return sent if interface == "lo" else received + sent
    return None


def _below(pid: int) -> list[int]:
    """Return all processes below one."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_below(int(child))]
    return found


def _held(pid: int) -> int:
    """Return the memory that a process holds, what it shares counted by its part, in bytes."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _watched(process: subprocess.Popen[bytes], *, memory: bool) -> int:
    """Wait for the tool; return the most memory that was held at once."""
    peak = 0
    until = time.monotonic() + TIMEOUT_S
    while process.poll() is None:
        if time.monotonic() > until:
            process.kill()
        if memory:
            peak = max(peak, sum(_held(pid) for pid in _below(os.getpid())))
            time.sleep(_SAMPLE_S)
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
    return peak


def _end_rest() -> None:
    """End what the tool left in the background, and take over what it has used."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        for pid in _below(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(pid, word)
        until = time.monotonic() + _GRACE_S
        while time.monotonic() < until:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                time.sleep(0.01)


def main() -> None:
    """Run what stdin names and print what it took."""
    asked = json.load(sys.stdin)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    output = os.memfd_create("said")
    began = time.monotonic()
    process = subprocess.Popen(
        asked["argv"],
        cwd=asked["cwd"],
        env={**os.environ, **asked["environment"]},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )
    peak = _watched(process, memory=asked["memory"])
    wall = time.monotonic() - began
    _end_rest()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = os.lseek(output, 0, os.SEEK_END)
    said = os.pread(output, 4000, max(0, size - 4000)).decode("utf-8", "replace")
    json.dump(
        {
            "wall_s": wall,
            "cpu_s": used.ru_utime + used.ru_stime,
            "peak_bytes": peak,
            "code": process.returncode,
            "said": said,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
