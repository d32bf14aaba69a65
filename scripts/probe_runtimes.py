"""Builds of the runtime, each installed into an environment of its own, and what they say to files: loaded in child processes.

A build is installed once into a folder of the caller's choice and found there again. A file that kills the child is tried again alone in a fresh one:
only what dies there too counts as dead.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_CHILD = Path(__file__).with_name("probe_child.py")
_LOAD_S = 300
_INSTALL_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One release of a runtime; `pythons` are the minor versions of Python 3 that x86_64 wheels exist for, the preferred first."""

    package: str
    version: str
    pythons: tuple[int, ...]
    numpy: str = "numpy"

    @property
    def label(self) -> str:
        """What messages and tables call it."""
        return f"{self.package} {self.version}"


BUILDS: tuple[Build, ...] = (
    Build(package="tflite-runtime", version="2.11.0", pythons=(9, 8, 7, 10), numpy="numpy<2"),
    Build(package="tflite-runtime", version="2.13.0", pythons=(10, 9, 8), numpy="numpy<2"),
    Build(package="tflite-runtime", version="2.14.0", pythons=(11, 10, 9, 8), numpy="numpy<2"),
    Build(package="ai-edge-litert", version="1.4.0", pythons=(11, 10, 12, 9)),
    Build(package="ai-edge-litert", version="2.1.0", pythons=(11, 12, 10, 13)),
    Build(package="ai-edge-litert", version="2.1.6", pythons=(11, 12, 13, 10)),
    Build(package="ai-edge-litert", version="2.3.0", pythons=(11, 12, 13, 10)),
)
"""The oldest first; every build of `ota.core.runtime.RUNTIMES`, and releases between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a build made of a file: `loads`, `unknown` (operator, version or type), `failed` or `died`."""

    answer: str
    reason: str = ""


def installed(build: Build, folder: Path, pythons: Sequence[str] = ()) -> Path | str:
    """Return the Python of the environment that has `build`, made in `folder` where it is not there yet, or why there is none.

    `pythons` are interpreters to try before those that this machine is found to have.
    """
    home = folder / f"{build.package}-{build.version}"
    python = home / "bin" / "python"
    if (home / "proven").exists():
        return python
    reason = f"no Python 3 with one of the minor versions {build.pythons} is here"
    for base in _interpreters(build, pythons):
        shutil.rmtree(home, ignore_errors=True)
        reason = _run(base, "-m", "venv", str(home)) or _run(
            str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--only-binary", ":all:", f"{build.package}=={build.version}", build.numpy,
        )  # fmt: skip
        if not reason:
            (home / "proven").touch()
            return python
    return reason


def load(python: Path, files: Sequence[Path]) -> list[Answer]:
    """Return what the runtime of `python` makes of each file, in their order."""
    answers: list[Answer] = []
    while len(answers) < len(files):
        rest = files[len(answers) :]
        answers += _answers(python, rest)
        if len(answers) < len(files):
            dead = files[len(answers)]
            alone = _answers(python, [dead])
            answers.append(
                alone[0] if alone else Answer(answer="died", reason=f"{dead.name} ends the process")
            )
    return answers


def _answers(python: Path, files: Sequence[Path]) -> list[Answer]:
    """Return the answers of one child, fewer than files where it dies."""
    try:
        done = subprocess.run(
            [str(python), str(_CHILD)],
            input="".join(f"{file}\n" for file in files),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=_LOAD_S,
        )
        said = done.stdout
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
    return [Answer(**json.loads(line)) for line in said.splitlines(keepends=True) if line.endswith("}\n")]


def _interpreters(build: Build, pythons: Sequence[str]) -> Iterator[str]:
    """Yield interpreters that wheels of `build` exist for."""
    names = [f"python3.{minor}" for minor in build.pythons]
    found = [*pythons, sys.executable, *(shutil.which(name) for name in names)]
    versions = Path("~/.pyenv/versions").expanduser()
    found += [str(path) for name in names for path in sorted(versions.glob(f"*/bin/{name}"), reverse=True)]
    seen: set[int] = set()
    for candidate in found:
        minor = _minor(candidate) if candidate else None
        if candidate and minor in build.pythons and minor not in seen:
            seen.add(minor)
            yield candidate


def _minor(candidate: str) -> int | None:
    try:
        said = subprocess.run(
            [candidate, "-c", "import sys, venv, ensurepip; print(sys.version_info[1])"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return int(said)


def _run(*command: str) -> str:
    """Return why a command failed, empty where it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return (done.stderr.strip().splitlines() or ["it failed"])[-1] if done.returncode else ""
