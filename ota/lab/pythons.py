"""Which Python a virtual device gets: a real interpreter, never a virtual environment's nor a launcher's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLD_RUNTIME = ((3, 8), (3, 11))
"""The Pythons for which tflite-runtime was built."""


def own_python() -> str:
    """Return the interpreter behind the one that runs, outside its virtual environment."""
    return str(Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}").resolve())


def python_for_old_runtime() -> str:
    """Return an interpreter that tflite-runtime runs under, else our own."""
    for path in _candidates():
        if OLD_RUNTIME[0] <= _version(path) <= OLD_RUNTIME[1]:
            return path
    return own_python()


def _candidates() -> Iterator[str]:
    yield own_python()
    yield "/usr/bin/python3"
    for minor in (11, 10, 9, 8):
        found = shutil.which(f"python3.{minor}", path="/usr/local/bin:/usr/bin:/opt/bin")
        if found:
            yield found


def _version(path: str) -> tuple[int, int]:
    code = "import sys, venv; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [path, "-I", "-c", code], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    words = done.stdout.split()
    return (int(words[0]), int(words[1])) if done.returncode == 0 and len(words) == 2 else (0, 0)
