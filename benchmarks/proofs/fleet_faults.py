"""Proof: one rollout over 20 OpenSSH devices of which six fail, each in a way of its own; then all are mended and catch up.

Two are dead, one has a full disk (needs root, for a small file system), one fails its health check, one loses its link in mid-transfer, and one has
another host key. Run: make proof-fleet-faults
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cutter import Cutter
from benchmarks.proofs.figures import Figures
from ota.lab.fleet import LabState, default_fleet
from ota.lab.lab import down, up
from ota.lab.sshd import Daemon, find_programs, free_port, start
from tests.agent.networks import dense

DEVICES = 20
OLD, NEW = dense([[1.0, 0.5]] * 100_000), dense([[1.0, 0.5]] * 400_000)
CUT_AFTER = 1_200_000
DISK = 4_500_000
"""Room for the old release, and not for the new one beside it."""
DEAD, OTHERS = ("sorter-19", "sorter-20"), ("sorter-5", "sorter-8", "sorter-11", "sorter-14")
FULL, UNWELL, CUT, STRANGER = OTHERS
EXPECTED = {
    **dict.fromkeys(DEAD, ("unreachable", "hangs up before the sign-in")),
    FULL: ("failed", "bytes are missing on the disk"),
    UNWELL: ("rolled_back", "health check"),
    CUT: ("unreachable", "the connection was cut"),
    STRANGER: ("unreachable", "not the recorded one"),
}
"""The state in which each of them ends, and a word of the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The lab, the folder that `ota` runs in, and the line that can be cut."""

    lab: LabState
    folder: Path
    cutter: Cutter

    def run(self, *args: str) -> tuple[int, Any]:
        """Run a command line; return its exit code and what it printed as JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "ota", *args, "--json"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        if "Traceback" in done.stderr or not done.stdout:
            sys.exit(done.stderr)
        return done.returncode, json.loads(done.stdout)

    def deploy(self, model: str) -> tuple[int, dict[str, Any]]:
        """Deploy a file; return the exit code and how each host ended."""
        code, said = self.run("deploy", "--model", model)
        hosts = {one["host"]: one for one in said["rollouts"][0]["hosts"]}
        for name, one in hosts.items():
            print(f"  {name:10} {one['state']:12} {one.get('reason', '')[:110]}")
        return code, hosts

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


def main() -> None:
    """Deploy, break, deploy, mend, deploy."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        sys.exit("a device with a full disk is a small file system: run this as root, where `mount` is")
    figures = Figures()
    with _fleet() as fleet:
        print("the old release, everywhere")
        code, _ = fleet.deploy("old.tflite")
        figures.add("exit code of the first deployment", code, "=", 0)
        print("the new release, six devices broken")
        with _broken(fleet):
            code, hosts = fleet.deploy("new.tflite")
            _judge(fleet, code, hosts, figures)
        print("mended")
        code, hosts = fleet.deploy("new.tflite")
        figures.add("exit code once all are mended", code, "=", 0)
        changed = sorted(name for name, one in hosts.items() if one["changed"])
        figures.holds(
            "changed once all are mended",
            met=changed == sorted(EXPECTED),
            found=", ".join(changed),
            goal="those that had failed",
        )
        figures.add("devices that run the new release", _count(fleet, NEW), "=", DEVICES)
        figures.add("files left over", len(fleet.left_over()), "=", 0)
        code, hosts = fleet.deploy("new.tflite")
        figures.add("changed by a third run", sum(one["changed"] for one in hosts.values()), "=", 0)
        code, _ = fleet.run("verify")
        figures.add("exit code of ota verify", code, "=", 0)
    figures.finish()


def _judge(fleet: Fleet, code: int, hosts: Mapping[str, Any], figures: Figures) -> None:
    figures.add("exit code with failed and unreachable hosts", code, "=", 2)
    for name, (state, word) in EXPECTED.items():
        found = f"{hosts[name]['state']}: {hosts[name].get('reason', '')}"
        met = hosts[name]["state"] == state and word in found
        figures.holds(name, met=met, found=found[:100], goal=state)
    well = [name for name in hosts if name not in EXPECTED]
    confirmed = sum(hosts[name]["state"] == "confirmed" for name in well)
    figures.add("confirmed of the others", confirmed, "=", len(well))
    lies = [
        name
        for name, content in fleet.currents().items()
        if content != (NEW if hosts[name]["state"] == "confirmed" else OLD)
    ]
    figures.add("devices that run another release than was told", len(lies), "=", 0)


def _count(fleet: Fleet, content: bytes) -> int:
    return sum(one == content for one in fleet.currents().values())


@contextmanager
def _fleet() -> Iterator[Fleet]:
    with TemporaryDirectory(prefix="ota-proof-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        fleet = [
            spec.__class__(name=spec.name, port=free_port(), rate_kbit=1_000_000, delay_ms=0)
            for spec in default_fleet(DEVICES)
        ]
        stack.callback(down, folder / "lab")
        lab = up(folder / "lab", fleet=fleet)
        port = next(device.port for device in lab.devices if device.name == CUT)
        cutter = Cutter(port)
        stack.callback(cutter.close)
        here = Fleet(lab=lab, folder=folder, cutter=cutter)
        _write(here, port)
        _disk(here, stack)
        _runtimes(here)
        yield here


def _write(fleet: Fleet, port: int) -> None:
    """Write inventory, play and models; the device whose link is cut is behind the cutter."""
    inventory = Path(fleet.lab.inventory).read_text()
    options = f"-o UserKnownHostsFile={fleet.folder}/known_hosts"
    relayed = f"ansible_port: {fleet.cutter.port}\n          ansible_ssh_common_args: {options} -o HostKeyAlias=[127.0.0.1]:{port}"
    inventory = inventory.replace(f"ansible_port: {port}", relayed)
    inventory = inventory.replace(fleet.lab.known_hosts, f"{fleet.folder}/known_hosts")
    (fleet.folder / "inventory.yaml").write_text(inventory)
    shutil.copy(fleet.lab.known_hosts, fleet.folder / "known_hosts")
    (fleet.folder / "playbooks").mkdir()
    play = {
        "name": "sorter",
        "hosts": "all",
        "model": {"name": "sorter", "source": "../new.tflite"},
        "deploy": {
            "serial": ["10%", "50%", "100%"],
            "max_fail_percentage": 50,
            "health_check": {"command": "test ! -e unwell", "retries": 1, "delay": "100ms"},
        },
    }
    (fleet.folder / "playbooks" / "site.yaml").write_text(json.dumps([play]))
    (fleet.folder / "old.tflite").write_bytes(OLD)
    (fleet.folder / "new.tflite").write_bytes(NEW)


def _runtimes(fleet: Fleet) -> None:
    """Provision the first device; the others share its runtimes, which is not what is looked at here."""
    fleet.run("provision", "--limit", "sorter-1")
    for device in fleet.lab.devices[1:]:
        root = fleet.root(device.name)
        root.mkdir(exist_ok=True)
        (root / "runtime").symlink_to(fleet.root("sorter-1") / "runtime")


def _disk(fleet: Fleet, stack: ExitStack) -> None:
    root = fleet.root(FULL)
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(root)], check=True)
    stack.callback(subprocess.run, ["umount", str(root)], check=True)


@contextmanager
def _broken(fleet: Fleet) -> Iterator[None]:
    """Break six devices, and mend them."""
    programs = find_programs()
    daemons = [Daemon(folder=Path(fleet.lab.folder) / name) for name in DEAD]
    known_hosts = fleet.folder / "known_hosts"
    text = known_hosts.read_text()
    ports = {device.name: device.port for device in fleet.lab.devices}
    key = re.search(rf"\[127\.0\.0\.1\]:{ports['sorter-1']} (.*)", text)
    assert key is not None
    known_hosts.write_text(re.sub(rf"(\[127\.0\.0\.1\]:{ports[STRANGER]}) .*", rf"\1 {key[1]}", text))
    for daemon in daemons:
        daemon.stop()
    (fleet.root(UNWELL) / "unwell").touch()
    fleet.cutter.after = CUT_AFTER
    try:
        yield
    finally:
        fleet.cutter.after = 0
        known_hosts.write_text(text)
        (fleet.root(UNWELL) / "unwell").unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(fleet.root(FULL))], check=True)
        for daemon in daemons:
            start(daemon, programs)


if __name__ == "__main__":
    main()
