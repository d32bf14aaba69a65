"""Proof: one rollout through Dask workers at two sites, in network namespaces of their own, each reaching its own devices alone; beside one controller over the same lines.

Every line between the controller and a site carries RATE. Both ways deploy a model that no device has and no compression makes smaller, with the same forks, in turns. Then workers are killed in the
middle of rollouts: where the site has another, it ends them; where it has none, the hosts are reported, and a later run finishes them. Run as root: make proof-dask
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.proofs.figures import Figures
from benchmarks.rivals import place
from benchmarks.rivals.place import Fleet
from benchmarks.sites import Sites, sites
from ota.lab.processes import wait_until
from ota.lab.sshd import account, find_programs
from tests.agent.networks import dense

RATE = "3mbit"
SITES = ("north", "south")
DEVICES = 8
"""At each site."""
ROUNDS = 3
_WEIGHTS = 250_000
_SCHEDULER = "10.78.0.1"
_START_S = 10.0
_TRIAL_S = 4


@dataclass
class Place:
    """The fleet and its sites; `inside` are the words that enter a site's namespace."""

    fleet: Fleet
    sites: Sites
    inside: dict[str, tuple[str, ...]]
    site_of: dict[str, str]
    models: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where `ota` runs."""
        return self.fleet.folder / "project"

    def root(self, device: str) -> Path:
        """Return where a device keeps its releases."""
        return self.fleet.daemon(device).home / "ota"

    def of(self, site: str) -> list[str]:
        """Return the devices of a site."""
        return [name for name, there in self.site_of.items() if there == site]

    def model(self) -> str:
        """Make a model of a megabyte that no device has."""
        self.models += 1
        values = random.Random(self.models)
        weights = [[values.gauss(0, 1), values.gauss(0, 1)] for _ in range(_WEIGHTS // 2)]
        path = self.folder / f"{self.models}.tflite"
        path.write_bytes(dense(weights))
        return path.name

    def deploy(self, model: str, *options: str) -> subprocess.Popen[str]:
        """Begin to deploy a file to all."""
        words = ["deploy", "--model", model, "--forks", str(len(self.site_of)), "--json", *options]
        return subprocess.Popen(
            [sys.executable, "-m", "ota", *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, running: subprocess.Popen[str]) -> dict[str, str]:
        """Wait for a deployment; return the state of each host."""
        said, error = running.communicate(timeout=300)
        if not said or "Traceback" in error:
            logs = "\n".join(f"{name}: {self.sites.log(name)[-2000:]}" for name in self.sites.workers)
            sys.exit(f"ota deploy ended with {running.returncode}\n{error}\n{logs}")
        (rollout,) = json.loads(said)["rollouts"]
        return {one["host"]: one["state"] for one in rollout["hosts"]}

    def activations(self, model: str) -> dict[str, int]:
        """Return how often each device has activated the release of a file."""
        content = (self.folder / model).read_bytes()
        counted = {}
        for name in self.site_of:
            releases = [
                path.parent.name
                for path in self.root(name).glob("releases/*/model.tflite")
                if path.read_bytes() == content
            ]
            lines = (self.root(name) / "journal.jsonl").read_text().splitlines()
            records = [json.loads(line) for line in lines]
            counted[name] = sum(one["action"] == "activate" and one["release"] in releases for one in records)
        return counted

    def running(self, model: str) -> list[str]:
        """Return the devices whose applications would open a file, with nothing on trial."""
        content = (self.folder / model).read_bytes()
        return [
            name
            for name in self.site_of
            if (self.root(name) / "current" / "model.tflite").read_bytes() == content
            and not (self.root(name) / "pending.json").exists()
        ]

    def on_trial(self, site: str) -> int:
        """Return how many devices of a site are on trial."""
        return sum((self.root(name) / "pending.json").exists() for name in self.of(site))

    def playbook(self, **deploy: object) -> None:
        """Write a play that deploys so."""
        play = {
            "name": "fleet",
            "hosts": "all",
            "model": {"name": "net", "source": "1.tflite"},
            "deploy": {"load_check": False, "keep_releases": 2, "serial": ["100%"], **deploy},
        }
        (self.folder / "playbooks").mkdir(exist_ok=True)
        (self.folder / "playbooks" / "site.yaml").write_text(json.dumps([play]))


def main() -> None:
    """Measure, kill, print."""
    find_programs()
    place.enter_namespace()
    if not place.alone() or shutil.which("tc") is None:
        sys.exit("proof-dask needs root, network namespaces and iproute2's tc")
    figures = Figures()
    with standing() as there:
        see_that_sites_are_apart(there, figures)
        speed(there, figures)
        kill_where_there_is_another(there, figures)
        kill_where_there_is_none(there, figures)
    figures.finish()


def see_that_sites_are_apart(there: Place, figures: Figures) -> None:
    """Each site reaches its own devices and no other's."""
    code = "import socket, sys\ntry: socket.create_connection((sys.argv[1], 22), 1).close()\nexcept OSError: sys.exit(1)"
    reached = {
        (site, of): subprocess.run(
            [*there.inside[site], sys.executable, "-c", code, _address(SITES.index(of), 0)], check=False
        ).returncode == 0
        for site in SITES
        for of in SITES
    }  # fmt: skip
    apart = all(yes == (site == of) for (site, of), yes in reached.items())
    figures.holds(
        "each site reaches its own devices alone",
        met=apart,
        found="yes" if apart else str(reached),
        goal="yes",
    )


def speed(there: Place, figures: Figures) -> None:
    """Deploy in turns through the sites and from here, and hold the times and the bytes against each other."""
    there.playbook()
    seconds: dict[str, list[float]] = {"one controller": [], "sites": []}
    bytes_each: list[float] = []
    ways: list[tuple[str, tuple[str, ...]]] = [("one controller", ()), ("sites", there.sites.options)]
    for number in range(ROUNDS + 1):
        for name, options in ways if number % 2 else reversed(ways):
            model = there.model()
            size = (there.folder / model).stat().st_size
            before = [_sent(site) for site in SITES]
            began = time.monotonic()
            states = there.ended(there.deploy(model, *options))
            took = time.monotonic() - began
            crossed = [(_sent(site) - was) / size for site, was in zip(SITES, before, strict=True)]
            print(
                f"  {name:15} {took:6.2f} s; {', '.join(f'{one:.2f}' for one in crossed)} models crossed to the sites"
            )
            if set(states.values()) != {"confirmed"} or len(there.running(model)) != len(states):
                sys.exit(f"not every host was confirmed: {states}")
            if number:  # the first round brings the agent
                seconds[name].append(took)
                bytes_each += crossed if options else []
    middle = {name: statistics.median(one) for name, one in seconds.items()}
    print(f"medians: one controller {middle['one controller']:.2f} s, sites {middle['sites']:.2f} s")
    figures.add("wall time through two workers, of one controller's", middle["sites"] / middle["one controller"], "<=", 0.6)  # fmt: skip
    figures.add("models that crossed to a site, at most", max(bytes_each), "<=", 1.2)


def kill_where_there_is_another(there: Place, figures: Figures) -> None:
    """Kill a worker whose site has another, with its hosts on trial."""
    there.sites.start("north-2", site="north", inside=there.inside["north"])
    there.playbook(after=f"sleep {_TRIAL_S}", lease="120s")
    model = there.model()
    running = there.deploy(model, *there.sites.options)
    _wait(lambda: there.on_trial("north") >= DEVICES // 2)
    there.sites.kill("north")
    states = there.ended(running)
    print(f"a worker killed, its site has another: {_counted(states)}")
    activations = there.activations(model)
    figures.add("hosts confirmed after a worker was killed", list(states.values()).count("confirmed"), "=", len(states))  # fmt: skip
    figures.add("hosts whose device agrees", len(there.running(model)), "=", len(states))
    figures.add("activations a host, at most", max(activations.values()), "=", 1)


def kill_where_there_is_none(there: Place, figures: Figures) -> None:
    """Kill the only worker of a site, with hosts on trial; start it again, and deploy once more."""
    model = there.model()
    running = there.deploy(model, *there.sites.options)
    _wait(lambda: there.on_trial("south") >= DEVICES // 2)
    there.sites.kill("south")
    states = there.ended(running)
    code = running.returncode
    print(f"a worker killed, its site has no other: {_counted(states)}, exit code {code}")
    reported = [name for name in there.of("south") if states[name] in {"unreachable", "confirmed"}]
    figures.add("hosts of the lost site reported", len(reported), "=", DEVICES)
    others = [states[name] for name in there.of("north")]
    figures.add("hosts of the other site confirmed", others.count("confirmed"), "=", DEVICES)
    figures.add("exit code", code, "=", 4)
    there.sites.start("south", inside=there.inside["south"])
    states = there.ended(there.deploy(model, *there.sites.options))
    print(f"its worker is back: {_counted(states)}")
    figures.add("hosts confirmed once it is back", list(states.values()).count("confirmed"), "=", len(states))  # fmt: skip
    figures.add("activations a host over both runs, at most", max(there.activations(model).values()), "=", 1)


@contextmanager
def standing() -> Iterator[Place]:
    """Stand up two sites with devices, the scheduler, and a worker at each."""
    with ExitStack() as stack:
        fleet = stack.enter_context(place.fleet(DEVICES * len(SITES)))
        _run(f"ip addr add {_SCHEDULER}/32 dev lo")
        inside = {site: _site(number, site, stack) for number, site in enumerate(SITES)}
        names = [device.name for device in fleet.lab.devices]
        site_of = {name: SITES[number // DEVICES] for number, name in enumerate(names)}
        addresses = {name: (_address(number // DEVICES, number % DEVICES), 22) for number, name in enumerate(names)}  # fmt: skip
        program = find_programs().sshd
        for name, (address, _) in addresses.items():
            place.serve(fleet.daemon(name), program, address, inside[site_of[name]], stack)
        there = stack.enter_context(sites(fleet.folder / "dask", _SCHEDULER))
        for site in SITES:
            there.start(site, inside=inside[site], threads=DEVICES)
        made = Place(fleet=fleet, sites=there, inside=inside, site_of=site_of)
        made.folder.mkdir()
        _write_inventory(made, fleet.place(addresses, None))
        yield made


def _write_inventory(made: Place, at: place.Place) -> None:
    inventory: dict[str, Any] = {
        "vars": {
            "ansible_user": account(),
            "ansible_ssh_private_key_file": at.key,
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={at.known_hosts} -o IdentitiesOnly=yes",
            "ota_root": "~/ota",
            "ota_boot_hook": "none",
        },
        "hosts": {
            host.name: {
                "ansible_host": host.address,
                "ansible_python_interpreter": host.python,
                "ota_site": made.site_of[host.name],
            }
            for host in at.targets
        },
    }
    (made.folder / "inventory.yaml").write_text(json.dumps({"all": inventory}))


def _site(number: int, name: str, stack: ExitStack) -> tuple[str, ...]:
    """Make a namespace with a line of RATE to it; return the words that enter it."""
    holder = stack.enter_context(place.process(["unshare", "--net", "sleep", "infinity"]))
    ours = str(Path("/proc/self/ns/net").readlink())
    wait_until(lambda: place.namespace_of(holder.pid) not in {ours, ""}, _START_S)
    inside = ("nsenter", "-t", str(holder.pid), "-n")
    enter = " ".join(inside)
    shape = f"root tbf rate {RATE} burst 32kb latency 400ms"
    for words in (
        f"ip link add {name} type veth peer name line netns {holder.pid}",
        f"ip addr add 10.78.{number + 1}.1/24 dev {name}",
        f"ip link set {name} up",
        f"tc qdisc add dev {name} {shape}",
        f"{enter} ip link set lo up",
        f"{enter} ip link set line up",
        f"{enter} tc qdisc add dev line {shape}",
        f"{enter} ip addr add 10.78.{number + 1}.2/24 dev line",
        *(f"{enter} ip addr add {_address(number, device)}/24 dev line" for device in range(DEVICES)),
        f"{enter} ip route add {_SCHEDULER} via 10.78.{number + 1}.1",
    ):
        _run(words)
    return inside


def _address(site: int, device: int) -> str:
    return f"10.78.{site + 1}.{device + 11}"


def _sent(site: str) -> int:
    """Return the bytes that went over a site's line so far, from here."""
    (link,) = json.loads(subprocess.check_output(["ip", "-s", "-j", "link", "show", "dev", site]))
    return int(link["stats64"]["tx"]["bytes"])


def _counted(states: dict[str, str]) -> str:
    return ", ".join(
        f"{list(states.values()).count(state)} {state}" for state in sorted(set(states.values()))
    )


def _wait(until: Callable[[], bool]) -> None:
    if not wait_until(until, 120.0):
        sys.exit("it never came to that")


def _run(words: str | Sequence[str]) -> None:
    subprocess.run(words.split() if isinstance(words, str) else words, check=True)


if __name__ == "__main__":
    os.environ.pop("OTA_SSH_PASSWORD", None)
    main()
