"""Finds the real Python that a virtual device runs: a base interpreter, no shim and no virtual environment's.

The device's own environments are made from it, so it must bring `venv`. A device that prefers tflite-runtime gets a Python for which
wheels of that exist, where this machine has one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

TFLITE_RUNTIME = "tflite-runtime"
_TFLITE_PYTHONS = ((3, 8), (3, 11))  # tflite-runtime 2.14.0 has wheels from the first to the second
_PROBE = (
    "import json, sys, venv; print(json.dumps([list(sys.version_info[:2]), sys.base_prefix, sys.executable]))"
)
_PROBE_S = 10


def device_python(runtimes: tuple[str, ...]) -> Path:
    """Return the interpreter for a device that prefers `runtimes` in this order."""
    own = _base_interpreter(sys.version_info[:2], sys.base_prefix, sys.executable)
    if runtimes[:1] != (TFLITE_RUNTIME,) or _suits_tflite(sys.version_info[:2]):
        return own
    return next(_tflite_interpreters(), own)


def _tflite_interpreters() -> Iterator[Path]:
    """Yield this machine's interpreters that tflite-runtime has wheels for, the newest first."""
    (major, oldest), (_, newest) = _TFLITE_PYTHONS
    names = [f"python{major}.{minor}" for minor in range(newest, oldest - 1, -1)]
    found = [shutil.which(name) for name in names] + ["/usr/bin/python3", "/usr/local/bin/python3"]
    versions = Path("~/.pyenv/versions").expanduser()
    found += [str(path) for name in names for path in sorted(versions.glob(f"*/bin/{name}"), reverse=True)]
    for candidate in found:
        interpreter = _probe(candidate) if candidate else None
        if interpreter is not None:
            yield interpreter


def _probe(candidate: str) -> Path | None:
    """Return the base interpreter behind a name; None where it does not run or does not suit."""
    try:
        answer = subprocess.run(
            (candidate, "-I", "-c", _PROBE),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            check=True,
        )
        version, prefix, executable = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    found = (int(version[0]), int(version[1]))
    return _base_interpreter(found, prefix, executable) if _suits_tflite(found) else None


def _base_interpreter(version: tuple[int, int], prefix: str, executable: str) -> Path:
    """Return the interpreter that an environment was made from, or the executable itself behind its links."""
    base = Path(prefix, "bin", f"python{version[0]}.{version[1]}")
    return base if base.exists() else Path(executable).resolve()


def _suits_tflite(version: tuple[int, int]) -> bool:
    return _TFLITE_PYTHONS[0] <= version <= _TFLITE_PYTHONS[1]
