"""Proof: how soon a command is there: `ota --help`, `ota deploy` on a host that is up to date beside a bare `ssh host true`, and who imports TensorFlow.

Medians of interleaved runs. Every command but the two that convert or install is run for real against one OpenSSH device, with a hook in every
Python process that it starts; `select` and `provision` say only their help.
Run: python -m benchmarks.proofs.cold_start [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.proofs import fleet_speed
from benchmarks.proofs.figures import Figures
from benchmarks.proofs.fleet_speed import Sitting
from benchmarks.rivals import place
from benchmarks.rivals.environment import Environment
from benchmarks.rivals.place import PROFILES, Place

OTA = str(Path(sys.executable).with_name("ota"))
HELP_S, ABOVE_SSH_S = 0.15, 0.7
_STARTS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "import click": (sys.executable, "-c", "import click"),
    "ota --help": (OTA, "--help"),
}
_HOOK = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            with open(os.environ["OTA_WATCHED"], "a") as file:
                file.write(" ".join(sys.argv) + "\\n")
sys.meta_path.insert(0, Watch())
"""
_LINES: Mapping[str, str] = {
    "init": "init",
    "inventory": "inventory --list",
    "trust": "trust",
    "ping": "ping",
    "deploy": "deploy --model {model}",
    "rollback": "rollback",
    "status": "status",
    "verify": "verify",
    "history": "history",
    "key": "key show",
    "inspect": "inspect {model}",
    "schemes": "schemes",
    "lab": "lab status",
    "completion": "completion bash",
    "report": "report",
    "replay": "replay",
    "export": "export",
    "score": "score no-such-table.yaml",
    "select": "select --help",
    "provision": "provision --help",
}
"""How each command is run; one that lacks something (a selection) says so and has imported what it needs for that."""


def starts(rounds: int) -> dict[str, float]:
    """Return the median wall time of each start in seconds, the rounds' first not counted."""
    samples: dict[str, list[float]] = {name: [] for name in _STARTS}
    for _ in range(rounds + 1):
        for name, argv in _STARTS.items():
            began = time.perf_counter()
            subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
            samples[name].append(time.perf_counter() - began)
    return {name: statistics.median(times[1:]) for name, times in samples.items()}


def importers(sitting: Sitting, at: Place) -> dict[str, int]:
    """Run every command; return how many of its processes imported TensorFlow."""
    folder = fleet_speed.prepare(sitting, at)
    model, _ = sitting.model()
    hook, told = sitting.there.folder / "hook", sitting.there.folder / "imported"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(_HOOK)
    environment = {**os.environ, "PYTHONPATH": str(hook), "OTA_WATCHED": str(told)}
    subprocess.run(
        [sys.executable, "-c", "import importlib.util; importlib.util.find_spec('tensorflow')"],
        env=environment,
        check=True,
    )
    if not told.is_file():
        sys.exit("the hook does not see an import")
    found = {}
    for name in _commands():
        told.unlink(missing_ok=True)
        words = _LINES[name].format(model=model).split()
        done = subprocess.run(
            [OTA, *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if "Traceback" in done.stderr:
            sys.exit(f"ota {name}: {done.stderr}")
        found[name] = len(told.read_text().splitlines()) if told.is_file() else 0
        print(f"  ota {' '.join(words)[:50]:50} exit code {done.returncode}, {found[name]} imports")
    return found


def _commands() -> list[str]:
    """Return the commands that `ota --help` lists; each has its line here."""
    text = subprocess.run([OTA, "--help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  ([a-z]+) ", text.partition("Commands:")[2], re.MULTILINE)


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    place.enter_namespace()
    figures = Figures()
    medians = starts(rounds)
    for name, median in medians.items():
        print(f"{name:16} {median:.3f} s  {median / medians['python -c pass']:.1f} of a bare start")
    figures.add("ota --help", medians["ota --help"], "<=", HELP_S, unit=" s")
    with place.fleet(1) as there, place.reached(there, PROFILES[0]) as at:
        sitting = Sitting(there=there, environment=Environment(folder=there.folder))
        more = fleet_speed.one_up_to_date_host(sitting, at)
        print(f"ota deploy on one up-to-date host above ssh host true: {more.text(3)} s")
        figures.add("ota deploy on one up-to-date host above ssh host true", more.median, "<=", ABOVE_SSH_S, unit=" s")  # fmt: skip
        found = importers(sitting, at)
        figures.add("commands run", len(found), ">=", len(_LINES))
        figures.add("imports of tensorflow by commands that do not convert", sum(found.values()), "=", 0)
    figures.finish()


if __name__ == "__main__":
    main()
