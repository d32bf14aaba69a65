"""A fleet of OpenSSH devices that share one set of runtimes, and rollouts of two files over it, as a person would run them."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.memory import peak_mb
from ota.core.connection import connection_of
from ota.core.runtime import Unsupported, choose_runtimes
from ota.formats.inventory import load_inventory
from ota.lab.fleet import LabState, default_fleet
from ota.lab.lab import down, up
from ota.remote import ssh
from ota.remote.device import Device
from tests.agent.networks import dense


def _model(rows: int, seed: int) -> bytes:
    """Return a network whose weights no form makes smaller: however slow a link seems, it crosses whole."""
    chance = random.Random(seed)
    return dense([[chance.random(), chance.random()] for _ in range(rows)])


OLD, NEW = _model(100_000, 1), _model(400_000, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What a command cost its own machine: seconds, processor seconds, peak megabytes."""

    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The lab, and the folder that `ota` runs in: old.tflite, new.tflite, and a playbook that deploys as it was asked to."""

    lab: LabState
    folder: Path
    errors: list[str] = field(default_factory=list)

    @property
    def last_error(self) -> str:
        """What the last command said on stderr, its last line."""
        return (self.errors[-1].strip().splitlines() or [""])[-1]

    def run(self, *args: str) -> tuple[int, Any]:
        """Run a command line; return its exit code and what it printed as JSON, None where that is nothing."""
        done = subprocess.run(
            [sys.executable, "-m", "ota", *args, "--json"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        self.errors[:] = [done.stderr]
        if "Traceback" in done.stderr or (done.returncode and not done.stdout and "--resume" not in args):
            sys.exit(done.stderr)
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def timed(self, *args: str) -> Timed:
        """Run a command line that ends well, and return what it cost."""
        began, before = time.monotonic(), os.times()
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, *args, "--json"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        wall_s, after = time.monotonic() - began, os.times()
        if done.returncode:
            sys.exit(f"ota {' '.join(args)} ended with {done.returncode}: {done.stderr[-2000:]}")
        cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
        return Timed(wall_s=wall_s, cpu_s=cpu_s, peak_mb=peak_mb(done.stderr))

    def deploy(self, model: str) -> tuple[int, dict[str, Any]]:
        """Deploy a file; return the exit code and how each host ended."""
        code, said = self.run("deploy", "--model", model)
        hosts = {one["host"]: one for one in said["rollouts"][0]["hosts"]}
        for name, one in hosts.items():
            print(f"  {name:10} {one['state']:12} {one.get('reason', '')[:110]}")
        return code, hosts

    def port(self, name: str) -> int:
        """Return the port of a device."""
        return next(device.port for device in self.lab.devices if device.name == name)

    def root(self, name: str) -> Path:
        """Return where a device's releases are."""
        home = next(device.home for device in self.lab.devices if device.name == name)
        return Path(home) / "ota"

    def currents(self) -> Mapping[str, bytes]:
        """Return what an application on each device opens."""
        return {
            device.name: (self.root(device.name) / "current" / "model.tflite").read_bytes()
            for device in self.lab.devices
        }

    def left_over(self) -> list[str]:
        """Return what no release needs: temporary files, halves, trials."""
        names = re.compile(r"\.tmp$|\.part$|^pending\.json$|^bench-")
        return [
            str(path)
            for device in self.lab.devices
            for path in self.root(device.name).rglob("*")
            if "runtime" not in path.parts and names.search(path.name)
        ]


_MEASURED = """
import sys
from ota.cli.main import run
code = run(sys.argv[1:])
sys.stderr.write(open("/proc/self/status").read())
sys.exit(code)
"""


def _free_ports(count: int) -> list[int]:
    """Return so many ports that nobody has, all different."""
    with ExitStack() as held:
        places = [held.enter_context(socket.socket()) for _ in range(count)]
        for place in places:
            place.bind(("127.0.0.1", 0))
        return [place.getsockname()[1] for place in places]


@contextmanager
def rollout_fleet(count: int, deploy: Mapping[str, object]) -> Iterator[Fleet]:
    """Start so many devices, with a play whose `deploy:` is this one; none is provisioned yet."""
    with TemporaryDirectory(prefix="ota-proof-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        specs = [
            replace(spec, port=port, rate_kbit=1_000_000, delay_ms=0, runtimes=())
            for spec, port in zip(default_fleet(count), _free_ports(count), strict=True)
        ]
        stack.callback(down, folder / "lab")
        lab = up(folder / "lab", fleet=specs)
        inventory = Path(lab.inventory).read_text()
        (folder / "inventory.yaml").write_text(inventory.replace(lab.known_hosts, f"{folder}/known_hosts"))
        shutil.copy(lab.known_hosts, folder / "known_hosts")
        (folder / "playbooks").mkdir()
        play = {
            "name": "sorter",
            "hosts": "all",
            "model": {"name": "sorter", "source": "../new.tflite"},
            "deploy": deploy,
        }
        (folder / "playbooks" / "site.yaml").write_text(json.dumps([play]))
        (folder / "old.tflite").write_bytes(OLD)
        (folder / "new.tflite").write_bytes(NEW)
        yield Fleet(lab=lab, folder=folder)


def provision(fleet: Fleet) -> None:
    """Provision the first device; the others share its runtimes, which are not what is looked at."""
    first, *others = fleet.lab.devices
    fleet.run("provision", "--limit", first.name)
    for device in others:
        root = fleet.root(device.name)
        root.mkdir(exist_ok=True)
        (root / "runtime").symlink_to(fleet.root(first.name) / "runtime")


def lend_runtime(fleet: Fleet) -> None:
    """Let every device have this environment's runtime."""
    roots = [fleet.root(device.name) for device in fleet.lab.devices]
    lend_environment(fleet.folder / "inventory.yaml", fleet.lab.devices[0].name, roots)


def lend_environment(inventory: Path, first: str, roots: Sequence[Path]) -> None:
    """Let devices have this environment's runtime in each of `roots`, under the name that the resolver gives it on the `first` of the inventory."""
    host = load_inventory([inventory]).host(first)
    with Device.open(host, ssh.connect(host, connection_of(host)), model="sorter", root="~/ota") as device:
        choices = choose_runtimes(device.facts())
    if isinstance(choices, Unsupported):
        sys.exit(choices.reason)
    record = {"id": choices[0].id, "package": choices[0].package, "version": choices[0].version, "python": sys.executable}  # fmt: skip
    for root in roots:
        folder = root / "runtime" / choices[0].id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "proven.json").write_text(json.dumps(record))
