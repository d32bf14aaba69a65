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
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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


def main() -> None:
    """Deploy, break, deploy, mend, deploy."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        sys.exit("a device with a full disk is a small file system: run this as root, where `mount` is")
    figures = Figures()
    with rollout_fleet(DEVICES, DEPLOY) as fleet, ExitStack() as stack:
        cutter = Cutter(fleet.port(CUT))
        stack.callback(cutter.close)
        _relayed(fleet, cutter)
        _disk(fleet, stack)
        provision(fleet)
        print("the old release, everywhere")
        code, _ = fleet.deploy("old.tflite")
        figures.add("exit code of the first deployment", code, "=", 0)
        print("the new release, six devices broken")
        with _broken(fleet, cutter):
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


def _relayed(fleet: Fleet, cutter: Cutter) -> None:
    """Put the device whose link is cut behind the cutter."""
    path, port = fleet.folder / "inventory.yaml", fleet.port(CUT)
    options = f"-o UserKnownHostsFile={fleet.folder}/known_hosts -o HostKeyAlias=[127.0.0.1]:{port}"
    relayed = f"ansible_port: {cutter.port}\n          ansible_ssh_common_args: {options}"
    path.write_text(path.read_text().replace(f"ansible_port: {port}", relayed))


def _disk(fleet: Fleet, stack: ExitStack) -> None:
    root = fleet.root(FULL)
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(root)], check=True)
    stack.callback(subprocess.run, ["umount", str(root)], check=True)


@contextmanager
def _broken(fleet: Fleet, cutter: Cutter) -> Iterator[None]:
    """Break six devices, and mend them."""
    programs = find_programs()
    daemons = [Daemon(folder=Path(fleet.lab.folder) / name) for name in DEAD]
    known_hosts = fleet.folder / "known_hosts"
    text = known_hosts.read_text()
    key = re.search(rf"\[127\.0\.0\.1\]:{fleet.port('sorter-1')} (.*)", text)
    assert key is not None
    known_hosts.write_text(re.sub(rf"(\[127\.0\.0\.1\]:{fleet.port(STRANGER)}) .*", rf"\1 {key[1]}", text))
    for daemon in daemons:
        daemon.stop()
    (fleet.root(UNWELL) / "unwell").touch()
    cutter.after = CUT_AFTER
    try:
        yield
    finally:
        cutter.after = 0
        known_hosts.write_text(text)
        (fleet.root(UNWELL) / "unwell").unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(fleet.root(FULL))], check=True)
        for daemon in daemons:
            start(daemon, programs)


if __name__ == "__main__":
    main()
