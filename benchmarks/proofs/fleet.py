"""A small fleet of real OpenSSH daemons for the proofs, in a temporary folder, and `ota` run in it as a person would."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ota.lab.fleet import DeviceSpec, LabState
from ota.lab.lab import down, up
from ota.lab.sshd import free_port

ROOT = Path(__file__).parent.parent.parent
SHARED = ROOT.parent / "shared" / "data"
EXAMPLE = ROOT / "examples" / "waste_sorting"

_SHARED_NETWORK = f"""\
  model: {{name: sorter, source: {SHARED}/models/saved_model}}
  select:
    evaluation: {SHARED}/waste/test
    representative: {SHARED}/waste/representative
    preprocessing: {{scale: 1/127.5, offset: -1}}
"""
_EXAMPLE_NETWORK = f"""\
  model: {{name: sorter, source: {EXAMPLE}/model.keras}}
  select:
    evaluation: {EXAMPLE}/evaluation
    representative: {EXAMPLE}/representative
    preprocessing: {{scale: 1/127.5, offset: -1}}
"""


class Fleet:
    """A folder with an inventory; `seconds` is how long the last command took."""

    def __init__(self, folder: Path, lab: LabState) -> None:
        self.folder = folder
        self.lab = lab
        self.seconds = 0.0
        (folder / "inventory.yaml").write_text(Path(lab.inventory).read_text())

    def playbook(self, name: str, select: str, *, shared: bool) -> str:
        """Write a playbook of one play whose `select:` section has these further lines; return its name."""
        network = _SHARED_NETWORK if shared else _EXAMPLE_NETWORK
        lines = "".join(f"    {line}\n" for line in select.strip().splitlines())
        (self.folder / f"{name}.yaml").write_text(f"- name: sorter\n  hosts: sorters\n{network}{lines}")
        return f"{name}.yaml"

    def run(self, *args: str) -> str:
        """Run one command line to its end, its messages shown; return its stdout. SystemExit where it fails."""
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "ota", *args],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        self.seconds = time.monotonic() - began
        if done.returncode:
            sys.exit(f"ota {' '.join(args)} ended with {done.returncode}\n{_told(done.stdout)}")
        return done.stdout

    def select(self, playbook: str, *args: str) -> Any:
        """Run `ota select --json` and return its only selection."""
        (selection,) = json.loads(self.run("select", playbook, "--json", *args))["selections"]
        return selection


def _told(stdout: str) -> str:
    """Return what a failed command said: the verdicts of a document, else its last lines."""
    try:
        selections = json.loads(stdout)["selections"]
    except (ValueError, KeyError):
        return stdout[-3000:]
    return "\n".join(f"{one['answer']}: {one['cause']}" for one in selections)


@contextmanager
def fleet(runtimes: Sequence[tuple[str, ...]]) -> Iterator[Fleet]:
    """Start one device for each entry of `runtimes` (packages in order of preference, empty: its facts decide), provisioned."""
    with TemporaryDirectory(prefix="ota-proof-") as temporary:
        folder = Path(temporary)
        specs = [
            DeviceSpec(
                name=f"sorter-{number}", port=free_port(), rate_kbit=100_000, delay_ms=5, runtimes=preferred
            )
            for number, preferred in enumerate(runtimes, 1)
        ]
        try:
            there = Fleet(folder, up(folder / "lab", fleet=specs))
            there.playbook("site", "", shared=False)
            there.run("provision", "site.yaml")
            yield there
        finally:
            down(folder / "lab")
