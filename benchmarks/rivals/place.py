"""Where the tools are compared: one fleet of OpenSSH daemons, reached over loopback or over a long line for each device.

With root the whole comparison is in a network namespace of its own, where every byte is the tool's; long lines are then a second namespace behind a relay of
frames (`relay.py`), with loss. Without root long lines are the lab's own, without loss, and nobody counts bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.rivals import relay
from benchmarks.rivals.tools import Target
from ota.lab import sshd
from ota.lab.fleet import LabState, default_fleet
from ota.lab.lab import down, up
from ota.lab.processes import wait_until
from ota.lab.sshd import Daemon, free_port

INSIDE = "FLEET_SPEED_INSIDE"
"""Set where this process is alone in its network namespace."""
_NEAR, _FAR = "near0", "far0"
_START_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A line: kbit/s each way (0: loopback), its round trip in milliseconds, lost frames in percent; and how many rounds are held on it."""

    name: str
    title: str
    rate_kbit: int = 0
    round_trip_ms: float = 0.0
    loss_percent: float = 0.0
    rounds: int = 5


PROFILES = (
    Profile(name="loopback", title="loopback"),
    Profile(name="10M", title="10 Mbit/s, 50 ms round trip", rate_kbit=10_000, round_trip_ms=50.0, rounds=3),
    Profile(
        name="1M",
        title="1 Mbit/s, 300 ms round trip, 1 % loss",
        rate_kbit=1_000,
        round_trip_ms=300.0,
        loss_percent=1.0,
        rounds=1,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A fleet as it is reached now; `interface` is where the bytes go by, None where nobody counts them."""

    targets: tuple[Target, ...]
    known_hosts: str
    key: str
    interface: str | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The daemons, and a short folder for what the tools need."""

    lab: LabState
    folder: Path

    def daemon(self, name: str) -> Daemon:
        """Return a device's daemon."""
        return Daemon(folder=Path(self.lab.folder) / name)

    def place(self, addresses: dict[str, tuple[str, int]], interface: str | None, note: str = "") -> Place:
        """Return the fleet at these addresses, with a file of its host keys."""
        lines = []
        for name, (address, port) in addresses.items():
            shown = address if port == 22 else f"[{address}]:{port}"
            key = self.daemon(name).host_key.with_suffix(".pub").read_text(encoding="utf-8")
            lines.append(f"{shown} {' '.join(key.split()[:2])}\n")
        known = self.folder / "known_hosts"
        known.write_text("".join(lines), encoding="utf-8")
        targets = tuple(
            Target(
                name=device.name,
                address=addresses[device.name][0],
                port=addresses[device.name][1],
                python=str(Path(device.home).with_name("bin") / "python3"),
                home=device.home,
            )
            for device in self.lab.devices
        )
        return Place(
            targets=targets, known_hosts=str(known), key=self.lab.key, interface=interface, note=note
        )


def alone() -> bool:
    """Say whether this process is alone in its network namespace."""
    return bool(os.environ.get(INSIDE))


def enter_namespace() -> None:
    """Run this program again in a network namespace of its own, where that is possible; else go on."""
    if alone() or os.geteuid() != 0:
        return
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.orig_argv[1:]])


@contextmanager
def fleet(count: int) -> Iterator[Fleet]:
    """Start so many daemons; the lines of the lab are as good as none."""
    with TemporaryDirectory(prefix="ota-fs-") as temporary:
        folder = Path(temporary)
        if alone():
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        specs = [
            replace(spec, port=free_port(), rate_kbit=1_000_000, delay_ms=0, runtimes=())
            for spec in default_fleet(count)
        ]
        try:
            yield Fleet(lab=up(folder / "lab", fleet=specs), folder=folder)
        finally:
            down(folder / "lab")


@contextmanager
def reached(there: Fleet, profile: Profile) -> Iterator[Place]:
    """Reach the fleet over lines of a profile."""
    if not profile.rate_kbit:
        ports = {one.name: int(there.daemon(one.name).port_file.read_text()) for one in there.lab.devices}
        yield there.place(
            {name: ("127.0.0.1", port) for name, port in ports.items()}, "lo" if alone() else None
        )
    elif alone() and Path("/dev/net/tun").exists():
        with _namespace(there, profile) as place:
            yield place
    else:
        yield _by_the_lab(there, profile)


def _by_the_lab(there: Fleet, profile: Profile) -> Place:
    """Give the lab's own lines the profile's rate and delay."""
    specs = [
        replace(
            spec, port=free_port(), rate_kbit=profile.rate_kbit, delay_ms=int(profile.round_trip_ms / 2), runtimes=()
        )
        for spec in default_fleet(len(there.lab.devices))
    ]  # fmt: skip
    lab = up(Path(there.lab.folder), fleet=specs)
    return there.place(
        {one.name: ("127.0.0.1", one.port) for one in lab.devices}, None, "by a TCP relay, without loss"
    )


@contextmanager
def _namespace(there: Fleet, profile: Profile) -> Iterator[Place]:
    """Put a second daemon of every device into a namespace behind the relay."""
    with ExitStack() as stack:
        holder = stack.enter_context(process(["unshare", "--net", "sleep", "infinity"]))
        inside = ("nsenter", "-t", str(holder.pid), "-n")
        ours = str(Path("/proc/self/ns/net").readlink())
        wait_until(lambda: namespace_of(holder.pid) not in {ours, ""}, _START_S)
        numbers = (profile.rate_kbit, profile.round_trip_ms / 2, profile.loss_percent)
        line = [sys.executable, "-I", relay.__file__, str(holder.pid), _NEAR, _FAR, *map(str, numbers)]
        carrier = stack.enter_context(process(line))
        assert carrier.stdout is not None
        carrier.stdout.readline()
        addresses = {one.name: (f"10.77.1.{n}", 22) for n, one in enumerate(there.lab.devices, 1)}
        commands = [
            "ip addr add 10.77.0.1/16 dev " + _NEAR,
            f"ip link set {_NEAR} up",
            *(
                f"{' '.join(inside)} {words}"
                for words in (
                    "ip link set lo up",
                    *(f"ip addr add {address}/16 dev {_FAR}" for address, _ in addresses.values()),
                    f"ip link set {_FAR} up",
                )
            ),
        ]
        # Both ends as a plain TCP: a kernel's newest would hide the loss, and is not what devices have.
        reno = "echo reno >/proc/sys/net/ipv4/tcp_congestion_control"
        for words in commands:
            subprocess.run(words.split(), check=True)
        for before in ((), inside):
            subprocess.run([*before, "sh", "-c", reno], check=False, capture_output=True)
        program = sshd.find_programs().sshd
        for name, (address, _) in addresses.items():
            serve(there.daemon(name), program, address, inside, stack)
        yield there.place(addresses, _NEAR)


def serve(daemon: Daemon, program: str, address: str, inside: tuple[str, ...], stack: ExitStack) -> None:
    """Start a daemon with a device's own files at another address."""
    config, pid_file = daemon.folder / "far_config", daemon.folder / "far.pid"
    lines = []
    for text in daemon.config.read_text(encoding="utf-8").splitlines():
        word = text.split()[0]
        others = {
            "Port": "Port 22",
            "ListenAddress": f"ListenAddress {address}",
            "PidFile": f'PidFile "{pid_file}"',
        }
        lines.append(others.get(word, text))
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pid_file.unlink(missing_ok=True)
    words = [*inside, program, "-D", "-f", str(config), "-E", str(daemon.folder / "far.log")]
    stack.enter_context(process(words))
    if not wait_until(pid_file.exists, _START_S):
        raise RuntimeError((daemon.folder / "far.log").read_text())


@contextmanager
def process(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for as long as the context lasts."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def namespace_of(pid: int) -> str:
    """Return a process's network namespace, empty where it is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""
