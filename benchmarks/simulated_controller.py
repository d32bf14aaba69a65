"""`ota deploy` over so many simulated devices, in the folder that is given; the last line of stderr is what it cost this process.

Run by `benchmarks.proofs.scale`: python -m benchmarks.simulated_controller SIZE FOLDER. It imports no more than `ota` itself does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from threading import Lock
from typing import Any

from benchmarks.memory import peak_mb
from benchmarks.simulated_fleet import SimulatedDevice, SimulatedTransport
from ota.cli.main import run
from ota.core.connection import Connection
from ota.core.inventory import Host
from ota.remote import ssh


def main(size: int, folder: str) -> int:
    """Return the exit code of the deployment, 1 where a device was not activated exactly once."""
    devices: dict[str, SimulatedDevice] = {}
    lock = Lock()

    def connect(host: Host, _connection: Connection, **_more: Any) -> SimulatedTransport:
        with lock:
            device = devices.setdefault(host.name, SimulatedDevice(host.name))
        return SimulatedTransport(device)

    ssh.connect = connect  # type: ignore[assignment]
    os.chdir(folder)
    began = time.process_time()
    code = run(["deploy", "--model", "new.tflite", "--json"])
    cpu_s = time.process_time() - began
    if len(devices) != size or any(device.activations != 1 for device in devices.values()):
        return 1
    print("\n" + json.dumps({"cpu_s": cpu_s, "peak_mb": peak_mb()}), file=sys.stderr)
    return int(code)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
