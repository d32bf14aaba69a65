"""How fast a file reaches a device over one channel, beside OpenSSH's own `cat`, interleaved in one run over one loopback daemon.

Run: python benchmarks/throughput.py [ROUNDS]; needs OpenSSH's server, as `ota lab up` does.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ota.core.connection import connection_of
from ota.core.protocol import BlobKind
from ota.core.release import Digest
from ota.formats.inventory import load_inventory
from ota.lab.fleet import LabState, default_fleet
from ota.lab.lab import down, up
from ota.lab.sshd import free_port
from ota.remote.connections import Connections
from ota.remote.device import Device

SIZE = 32 << 20


def by_ota(lab: LabState, path: Path, digest: Digest) -> float:
    """Return the seconds that the agent takes to receive, digest, sync and verify the file; connecting is not counted."""
    (host,) = load_inventory([lab.inventory]).hosts
    root = connection_of(host).ota_root
    with Device.open(host, Connections().open(host), model="throughput", root=root) as device:
        return device.put(BlobKind.ARTIFACT, digest, path, timed=True).seconds


def by_openssh(lab: LabState, path: Path) -> float:
    """Return the seconds that `ssh host 'cat > file'` takes, connecting included."""
    device = lab.devices[0]
    options = [
        "-F",
        "none",
        "-i",
        lab.key,
        "-o",
        f"UserKnownHostsFile={lab.known_hosts}",
        "-o",
        "BatchMode=yes",
    ]
    command = ["ssh", *options, "-p", str(device.port), "127.0.0.1", "cat > received"]
    began = time.perf_counter()
    with path.open("rb") as file:
        subprocess.run(command, stdin=file, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the median rate of each and their ratio."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fleet = [replace(default_fleet(1)[0], port=free_port(), rate_kbit=10_000_000, delay_ms=0)]
        lab = up(folder / "lab", fleet=fleet)
        try:
            path = folder / "file"
            path.write_bytes(os.urandom(SIZE))
            digest = Digest.of(path.read_bytes())
            samples: dict[str, list[float]] = {"ota": [], "ssh cat": []}
            for _ in range(rounds + 1):
                samples["ota"].append(by_ota(lab, path, digest))
                samples["ssh cat"].append(by_openssh(lab, path))
        finally:
            down(folder / "lab")
    medians = {name: statistics.median(times[1:]) for name, times in samples.items()}
    for name, seconds in medians.items():
        print(
            f"{name:8} {SIZE / seconds / 1e6:6.0f} MB/s  {seconds / medians['ssh cat']:.2f}x the time of ssh cat"
        )


if __name__ == "__main__":
    main()
