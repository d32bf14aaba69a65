"""Shell commands around an activation: bounded in time and in what they may say."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from typing import Any, Dict

LIMIT = 16 * 1024


def run(command: str, timeout_s: float, root: str) -> Dict[str, Any]:
    """Run a shell command in the ota_root; return its exit code and the end of its output, with 124 where the time was up."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=root,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = 124
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - LIMIT))
        return {"exit_code": code, "output": output.read().decode("utf-8", "replace")}
