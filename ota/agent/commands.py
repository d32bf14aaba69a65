"""Shell commands around an activation: bounded in time and in what they may say."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from typing import Any, Callable, Dict

LIMIT = 16 * 1024
_LOOK_S = 0.5


def run(command: str, timeout_s: float, root: str, tick: Callable[[], None] = lambda: None) -> Dict[str, Any]:
    """Run a shell command in the ota_root; return its exit code and the end of its output, with 124 where the time was up.

    `tick` is called now and then meanwhile.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=root,
            start_new_session=True,
        )
        code = _wait(process, time.monotonic() + timeout_s, tick)
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - LIMIT))
        return {"exit_code": code, "output": output.read().decode("utf-8", "replace")}


def _wait(process: "subprocess.Popen[bytes]", until: float, tick: Callable[[], None]) -> int:
    while True:
        try:
            return process.wait(timeout=max(0.0, min(_LOOK_S, until - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= until:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return 124
            tick()
