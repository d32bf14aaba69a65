"""The wheels of a runtime for a device's platform, downloaded with pip once and kept on the controller.

Invariants: a folder that is there is complete and its files have the digests noted in it; nothing is built from source; which index is asked is
pip's own configuration.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ota.core.release import Digest
from ota.core.runtime import RuntimeChoice
from ota.errors import OtaError

_MARKER = "complete.json"
_TIMEOUT_S = 1800.0
_OLDEST_GLIBC = {"x86_64": 5, "i686": 5}
"""The minor version of the oldest glibc that a manylinux tag exists for; 17 elsewhere."""
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One file to install: its name, which says what it fits, where it is kept, its digest, its size and what it unpacks to in bytes."""

    filename: str
    path: Path
    digest: Digest
    size_bytes: int
    unpacked_bytes: int


def fetch(choice: RuntimeChoice, folder: Path, *, python: str = sys.executable) -> tuple[Wheel, ...]:
    """Return the wheels of `choice`, a pip that the device's Python runs among them; downloads what `folder` does not hold.

    Raises:
        OtaError: pip is not there, has no network, or knows no such wheels; carries pip's last line.
    """
    kept = folder / f"{choice.id}-{choice.architecture}-glibc{choice.glibc[0]}.{choice.glibc[1]}"
    wheels = _kept(kept, choice)
    if wheels is not None:
        return wheels
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
        fresh = Path(temporary) / "wheels"
        fresh.mkdir()
        _download(python, choice, choice.requirements, fresh, dependencies=choice.with_dependencies)
        _download(python, choice, ("pip",), fresh, dependencies=False)
        _mark(fresh, choice)
        shutil.rmtree(kept, ignore_errors=True)
        fresh.rename(kept)
    found = _kept(kept, choice)
    if found is None:
        raise OtaError(
            "the wheels just downloaded are gone or damaged", where=str(kept), hint="check the disk"
        )
    return found


def platform_tags(architecture: str, glibc: tuple[int, int]) -> tuple[str, ...]:
    """Return the platform tags of the wheels that run on an architecture with that glibc, most specific first."""
    tags: list[str] = []
    for minor in range(glibc[1], _OLDEST_GLIBC.get(architecture, 17) - 1, -1):
        tags.append(f"manylinux_{glibc[0]}_{minor}_{architecture}")
        if minor in _OLD_NAMES:
            tags.append(f"{_OLD_NAMES[minor]}_{architecture}")
    return (*tags, f"linux_{architecture}")


def _download(
    python: str, choice: RuntimeChoice, requirements: Sequence[str], into: Path, *, dependencies: bool
) -> None:
    argv = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    argv += ["--only-binary=:all:", "--implementation", "cp"]
    argv += ["--python-version", f"{choice.python[0]}.{choice.python[1]}"]
    for tag in platform_tags(choice.architecture, choice.glibc):
        argv += ["--platform", tag]
    argv += [] if dependencies else ["--no-deps"]
    argv += ["--dest", str(into), *requirements]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(choice, requirements, str(error)) from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise _failed(choice, requirements, lines[-1][:500] if lines else f"exit code {done.returncode}")


def _failed(choice: RuntimeChoice, requirements: Sequence[str], said: str) -> OtaError:
    return OtaError(
        f"pip cannot download {' '.join(requirements)} for {choice.architecture}, "
        f"Python {choice.python[0]}.{choice.python[1]}, glibc {choice.glibc[0]}.{choice.glibc[1]}",
        found=said,
        hint="check the controller's network and pip's configuration (`pip config list`); devices need none",
    )


def _mark(folder: Path, choice: RuntimeChoice) -> None:
    files = [
        {
            "name": path.name,
            "sha256": _digest(path).hex,
            "size_bytes": path.stat().st_size,
            "unpacked_bytes": _unpacked(path),
        }
        for path in sorted(folder.glob("*.whl"))
    ]
    (folder / _MARKER).write_text(json.dumps({"requirements": list(choice.requirements), "wheels": files}))


def _kept(folder: Path, choice: RuntimeChoice) -> tuple[Wheel, ...] | None:
    """Return the wheels of a folder that is complete and undamaged, None otherwise."""
    try:
        noted = json.loads((folder / _MARKER).read_text("utf-8"))
        if noted["requirements"] != list(choice.requirements):
            return None
        wheels = tuple(
            Wheel(
                filename=str(each["name"]),
                path=folder / str(each["name"]),
                digest=Digest(str(each["sha256"])),
                size_bytes=int(each["size_bytes"]),
                unpacked_bytes=int(each["unpacked_bytes"]),
            )
            for each in noted["wheels"]
        )
        intact = all(_digest(wheel.path) == wheel.digest for wheel in wheels)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return wheels if wheels and intact else None


def _unpacked(path: Path) -> int:
    with zipfile.ZipFile(path) as wheel:
        return sum(entry.file_size for entry in wheel.infolist())


def _digest(path: Path) -> Digest:
    hasher = sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
    return Digest(hasher.hexdigest())
