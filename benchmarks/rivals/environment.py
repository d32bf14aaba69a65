"""The rivals' own virtual environment, made once: what is compared is what the package index gives today, and never a dependency of the project."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("ansible-core", "pyinfra", "parallel-ssh", "paramiko")
_INSTALL_S = 600


@dataclass
class Environment:
    """The environment in `folder`; `versions` of what is there by name, and why the others are not."""

    folder: Path
    versions: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def program(self, name: str) -> str:
        """Return the path of a program of the environment."""
        return str(self.folder / "bin" / name)


def made(folder: Path) -> Environment:
    """Return the environment, with every rival that installs here."""
    there = Environment(folder=folder)
    if not (folder / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    for package in PACKAGES:
        version = _version(there, package)
        if version is None:
            reason = _install(there, package)
            version = _version(there, package)
            if version is None:
                there.absent[package] = reason
                continue
        there.versions[package] = version
    for name, argv in (("OpenSSH", ("ssh", "-V")), ("rsync", ("rsync", "--version"))):
        if shutil.which(argv[0]) is None:
            there.absent[name] = f"{argv[0]} is not on this machine"
        else:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            there.versions[name] = (done.stdout + done.stderr).splitlines()[0].split(",")[0].strip()
    return there


def _install(there: Environment, package: str) -> str:
    """Install one package; return the end of what pip said where it fails."""
    try:
        done = subprocess.run(
            [
                there.program("pip"),
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
                package,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=_INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        return f"pip did not end within {_INSTALL_S} s"
    lines = (done.stderr or "it installs no such package").strip().splitlines()
    return lines[-1][:200]


def _version(there: Environment, package: str) -> str | None:
    done = subprocess.run(
        [there.program("python"), "-c", "import sys; from importlib.metadata import version; print(version(sys.argv[1]))", package],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    return done.stdout.strip() or None
