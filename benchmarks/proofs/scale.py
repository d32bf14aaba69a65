"""Proof: what a device costs the controller does not depend on how many there are, and who is dead or slow holds up nobody outside its batch.

`ota deploy` runs whole, in a process of its own, over 10 to 10,000 simulated devices behind the transport's interface: processor time and peak memory, less those
of a fleet of one, per host. Then the rollout's own loop runs over 10,000 of them in virtual time, a hundredth dead and a few slow. Last, real OpenSSH daemons: 20 and 200 of
them, each with a deployment and a status. Run: make proof-scale DEVICES=200
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.proofs.figures import Figures
from benchmarks.proofs.rollout_fleet import provision, rollout_fleet
from benchmarks.simulated_fleet import SimulatedDevice, SimulatedTransport, VirtualExecutor
from ota.core.host_state import HostState
from ota.core.inventory import Host
from ota.core.playbook import BatchSize, DeploySpec
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Manifest, Release
from ota.remote.device import Device
from ota.workflows.deploy import roll_out
from ota.workflows.deploy_host import deploy_host
from ota.workflows.order import Ends, Order
from tests.agent.networks import dense

SIZES = (1, 10, 100, 1_000, 10_000)
ROUNDS = {1: 15, 10: 15, 100: 5, 1_000: 3, 10_000: 1}
FLAT = 1.10
FORKS = 20
DEAD, SLOW, SLOW_S = 100, 3, 3600.0
SMALL = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Processor seconds and peak megabytes of a controller."""

    cpu_s: float
    peak_mb: float


def main() -> None:
    """Measure."""
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    figures = Figures()
    simulated(figures)
    in_virtual_time(figures)
    if devices:
        real(figures, devices)
    figures.finish()


def simulated(figures: Figures) -> None:
    """Run `ota deploy` over simulated fleets of all sizes."""
    costs = {size: _cost(size) for size in SIZES}
    alone = costs[1]
    print(f"{'hosts':>8} {'CPU s':>8} {'ms/host':>8} {'peak MB':>8} {'kB/host':>8}")
    per_host: dict[int, float] = {}
    for size in SIZES[1:]:
        per_host[size] = (costs[size].cpu_s - alone.cpu_s) / (size - 1)
        memory_kb = 1000 * (costs[size].peak_mb - alone.peak_mb) / (size - 1)
        line = (costs[size].cpu_s, 1000 * per_host[size], costs[size].peak_mb, memory_kb)
        print(f"{size:8} {line[0]:8.2f} {line[1]:8.2f} {line[2]:8.1f} {line[3]:8.1f}")
    fewer = statistics.median(per_host[size] for size in SIZES[1:-1])
    figures.add("processor time of a host, 10,000 over fewer", per_host[SIZES[-1]] / fewer, "<=", FLAT)
    thousand, most = costs[SIZES[-2]].peak_mb - alone.peak_mb, costs[SIZES[-1]].peak_mb - alone.peak_mb
    figures.add("memory of a host, 10,000 over 1,000", most / thousand / 10, "<=", FLAT)


def _cost(size: int) -> Cost:
    """Return the least processor time, which noise only adds to, and the middle of the peaks of memory."""
    costs = []
    for _ in range(ROUNDS[size]):
        with TemporaryDirectory(prefix="ota-scale-") as folder:
            _fill(Path(folder), size)
            argv = [sys.executable, "-m", "benchmarks.simulated_controller", str(size), folder]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{size} simulated devices: exit code {done.returncode}: {done.stderr[-2000:]}")
            costs.append(Cost(**json.loads(done.stderr.splitlines()[-1])))
    return Cost(
        cpu_s=min(cost.cpu_s for cost in costs), peak_mb=statistics.median(cost.peak_mb for cost in costs)
    )


def _fill(folder: Path, size: int) -> None:
    """Write what `ota deploy` needs for so many hosts."""
    (folder / "playbooks").mkdir()
    (folder / "new.tflite").write_bytes(dense([[1.0, 0.5]]))
    hosts = {f"camera-{number}": {"ansible_host": "192.0.2.1"} for number in range(size)}
    (folder / "inventory.yaml").write_text(json.dumps({"all": {"hosts": hosts}}))
    play = {
        "name": "sorter",
        "hosts": "all",
        "model": {"name": "sorter", "source": "../new.tflite"},
        "deploy": {"serial": [1, "25%"], "health_check": "true"},
    }
    (folder / "playbooks" / "site.yaml").write_text(json.dumps([play]))


def in_virtual_time(figures: Figures) -> None:
    """Roll out over 10,000 devices in four batches, with the dead and the slow in the first two, and look when each host ended."""
    hosts = [Host(name=f"h{number}") for number in range(SIZES[-1])]
    quarter = len(hosts) // 4
    devices = {host.name: SimulatedDevice(host.name) for host in hosts}
    for number in range(DEAD):
        devices[f"h{number * quarter // DEAD}"].dead = True
    for number in range(SLOW):
        devices[f"h{quarter + 7 + number}"].answer_s = SLOW_S / 15
    release = _release()
    order = Order(
        release=release,
        spec=DeploySpec(serial=(BatchSize(percent=25),), max_fail_percentage=50.0),
        probe=None,
    )

    with TemporaryDirectory(prefix="ota-scale-") as folder:
        blob = Path(folder) / "model"
        blob.write_bytes(MODEL)
        ends = Ends(
            connect=lambda host: Device.open(
                host, SimulatedTransport(devices[host.name]), model="sorter", root="/home/pi/ota"
            ),
            emit=lambda _: None,
            blob=lambda _: blob,
            runtime_for=lambda _host, facts, _label: facts.runtimes[0],
            agree=lambda *_a, **_k: "",
        )
        executor = VirtualExecutor(lambda name: devices[name].clock)
        result = roll_out(
            hosts,
            order.spec,
            lambda host: deploy_host(host, order, ends),
            executor=executor,
            emit=lambda _: None,
            forks=FORKS,
        )
    states = [end.state for end in result.outcomes]
    ended = executor.ended
    of_slow = max(ended[f"h{quarter + 7 + number}"] for number in range(SLOW))
    batches = [[ended[f"h{number}"] for number in range(quarter * n, quarter * (n + 1))] for n in range(4)]
    own_s = statistics.median(device.clock for device in devices.values())
    spans = [max(batch) - (max(batches[n - 1]) if n else 0.0) for n, batch in enumerate(batches)]
    print(
        f"virtual seconds of the batches: {', '.join(f'{span:.0f}' for span in spans)}; a healthy host takes {own_s:.2f} s"
    )
    figures.add("confirmed of 10,000, 100 dead", states.count(HostState.CONFIRMED), "=", len(hosts) - DEAD)
    ideal = (quarter * own_s + DEAD * 10.0) / FORKS
    figures.add("the batch with the dead, over what its hosts take", spans[0] / ideal, "<=", FLAT)
    others = sum(time_s < of_slow - SLOW_S / 2 for time_s in batches[1])
    figures.add("hosts of the slow ones' batch that ended long before them", others, "=", quarter - SLOW)
    figures.add(
        "the batches without either, over what their hosts take",
        max(spans[2:]) / (quarter * own_s / FORKS),
        "<=",
        FLAT,
    )


MODEL = b"....TFL3 a model"


def _release() -> Release:
    artifact = Artifact(name=MODEL_ARTIFACT, digest=Digest.of(MODEL), size_bytes=len(MODEL))
    return Release(manifest=Manifest(model="sorter", artifacts=(artifact,)))


def real(figures: Figures, devices: int) -> None:
    """Deploy to 20 and to all of so many real OpenSSH daemons, and look at them."""
    with rollout_fleet(devices, {}) as fleet:
        provision(fleet)
        few = ",".join(device.name for device in fleet.lab.devices[:SMALL])
        # Whatever is made once, such as other forms of the files, is made before.
        for model in ("old.tflite", "new.tflite"):
            fleet.timed("deploy", "--model", model, "--limit", fleet.lab.devices[0].name)
        fleet.timed("deploy", "--model", "old.tflite")
        small = fleet.timed("deploy", "--model", "new.tflite", "--limit", few)
        fleet.timed("deploy", "--model", "old.tflite")
        large = fleet.timed("deploy", "--model", "new.tflite")
        status = fleet.timed("status")
        currents = fleet.currents()
        confirmed = sum(
            content == (fleet.folder / "new.tflite").read_bytes() for content in currents.values()
        )
        alone = fleet.timed("deploy", "--model", "new.tflite", "--limit", fleet.lab.devices[0].name)
    for name, cost, hosts in (("20", small, SMALL), (str(devices), large, devices)):
        print(
            f"{name} daemons: {cost.wall_s:.1f} s, {cost.cpu_s:.2f} s of processor time, {cost.peak_mb:.0f} MB; {hosts}"
        )
    figures.add(f"confirmed of {devices} daemons", confirmed, "=", devices)
    figures.add(
        "seconds of a host, all over 20",
        (large.wall_s - alone.wall_s) / (small.wall_s - alone.wall_s) * (SMALL - 1) / (devices - 1),
        "<=",
        FLAT,
    )
    figures.add(
        "processor time of a host, all over 20",
        (large.cpu_s - alone.cpu_s) / (small.cpu_s - alone.cpu_s) * (SMALL - 1) / (devices - 1),
        "<=",
        FLAT,
    )
    figures.add(
        "processor time of a status of 20 hosts", status.cpu_s * SMALL / devices, "<=", 0.25, unit=" s"
    )
    figures.add("peak memory of a status", status.peak_mb, "<=", 150, unit=" MB")


if __name__ == "__main__":
    main()
