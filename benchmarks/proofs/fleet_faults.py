"""Proof: one rollout over 20 OpenSSH devices of which six fail, each in a way of its own; then all are mended and catch up.

Two are dead, one has a full disk (needs root, for a small file system), one fails its health check, one loses its link in mid-transfer, and one has
another host key. Run: make proof-fleet-faults
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cutter import Cutter
from benchmarks.proofs.figures import Figures
from benchmarks.proofs.rollout_fleet import NEW, OLD, Fleet, provision, rollout_fleet
from ota.lab.sshd import Daemon, find_programs, start

DEVICES = 20
DEPLOY = {
    "serial": ["10%", "50%", "100%"],
    "max_fail_percentage": 50,
    "health_check": {"command": "test ! -e unwell", "retries": 1, "delay": "100ms"},
}
CUT_AFTER = 1_200_000
DISK = 4_500_000
"""Room for the old release, and not for the new one beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The devices that are broken, by how."""

    dead: tuple[str, ...]
    full: str
    unwell: str
    cut: str
    stranger: str

    @property
    def expected(self) -> Mapping[str, tuple[str, str]]:
        """Return the state in which each of them ends, and a word of the reason."""
        return {
            **dict.fromkeys(self.dead, ("unreachable", "hangs up before the sign-in")),
            self.full: ("failed", "bytes are missing on the disk"),
            self.unwell: ("rolled_back", "health check"),
            self.cut: ("unreachable", "the connection was cut"),
            self.stranger: ("unreachable", "not the recorded one"),
        }


ROLES = Roles(
    dead=("sorter-19", "sorter-20"), full="sorter-5", unwell="sorter-8", cut="sorter-11", stranger="sorter-14"
)


def main() -> None:
    """Deploy, break, deploy, mend, deploy."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        sys.exit("a device with a full disk is a small file system: run this as root, where `mount` is")
    figures = Figures()
    with rollout_fleet(DEVICES, DEPLOY) as fleet:
        prove(fleet, ROLES, figures, provision)
    figures.finish()


def prove(fleet: Fleet, roles: Roles, figures: Figures, provisioned: Callable[[Fleet], None]) -> None:
    """Deploy to a fleet, break these devices of it, deploy, mend them, deploy; note what came of it. Needs root."""
    with ExitStack() as stack:
        cutter = Cutter(fleet.port(roles.cut))
        stack.callback(cutter.close)
        _relayed(fleet, roles.cut, cutter)
        _disk(fleet.root(roles.full), stack)
        provisioned(fleet)
        print("the old release, everywhere")
        code, _ = fleet.deploy("old.tflite")
        figures.add("exit code of the first deployment", code, "=", 0)
        print("the new release, some devices broken")
        with _broken(fleet, roles, cutter):
            code, hosts = fleet.deploy("new.tflite")
            _judge(fleet, roles, code, hosts, figures)
        print("mended")
        code, hosts = fleet.deploy("new.tflite")
        figures.add("exit code once all are mended", code, "=", 0)
        changed = sorted(name for name, one in hosts.items() if one["changed"])
        figures.holds(
            "changed once all are mended",
            met=changed == sorted(roles.expected),
            found=", ".join(changed),
            goal="those that had failed",
        )
        figures.add("devices that run the new release", _count(fleet, NEW), "=", len(fleet.lab.devices))
        figures.add("files left over", len(fleet.left_over()), "=", 0)
        code, hosts = fleet.deploy("new.tflite")
        figures.add("changed by a third run", sum(one["changed"] for one in hosts.values()), "=", 0)
        code, _ = fleet.run("verify")
        figures.add("exit code of ota verify", code, "=", 0)


def _judge(fleet: Fleet, roles: Roles, code: int, hosts: Mapping[str, Any], figures: Figures) -> None:
    figures.add("exit code with failed and unreachable hosts", code, "=", 2)
    for name, (state, word) in roles.expected.items():
        found = f"{hosts[name]['state']}: {hosts[name].get('reason', '')}"
        met = hosts[name]["state"] == state and word in found
        figures.holds(name, met=met, found=found[:100], goal=state)
    well = [name for name in hosts if name not in roles.expected]
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


def _relayed(fleet: Fleet, name: str, cutter: Cutter) -> None:
    """Put the device whose link is cut behind the cutter."""
    path, port = fleet.folder / "inventory.yaml", fleet.port(name)
    options = f"-o UserKnownHostsFile={fleet.folder}/known_hosts -o HostKeyAlias=[127.0.0.1]:{port}"
    relayed = f"ansible_port: {cutter.port}\n          ansible_ssh_common_args: {options}"
    path.write_text(path.read_text().replace(f"ansible_port: {port}", relayed))


def _disk(root: Path, stack: ExitStack) -> None:
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(root)], check=True)
    stack.callback(subprocess.run, ["umount", str(root)], check=True)


@contextmanager
def _broken(fleet: Fleet, roles: Roles, cutter: Cutter) -> Iterator[None]:
    """Break these devices, and mend them."""
    programs = find_programs()
    daemons = [Daemon(folder=Path(fleet.lab.folder) / name) for name in roles.dead]
    known_hosts = fleet.folder / "known_hosts"
    text = known_hosts.read_text()
    key = re.search(rf"\[127\.0\.0\.1\]:{fleet.port('sorter-1')} (.*)", text)
    assert key is not None
    known_hosts.write_text(
        re.sub(rf"(\[127\.0\.0\.1\]:{fleet.port(roles.stranger)}) .*", rf"\1 {key[1]}", text)
    )
    for daemon in daemons:
        daemon.stop()
    (fleet.root(roles.unwell) / "unwell").touch()
    cutter.after = CUT_AFTER
    try:
        yield
    finally:
        cutter.after = 0
        known_hosts.write_text(text)
        (fleet.root(roles.unwell) / "unwell").unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(fleet.root(roles.full))], check=True)
        for daemon in daemons:
            start(daemon, programs)


if __name__ == "__main__":
    main()
