"""Proof: the shared network over a line of 1 Mbit/s and 300 ms round trip, without loss and with 1 %: a first deployment, an update beside `rsync -z`, a rollback.

With root and /dev/net/tun the line carries frames between two network namespaces, else it is a TCP relay without loss. Every command is run as a person would,
with whatever starting Python and signing in take; round trips are what a command takes longer over the line than over loopback, in
units of the line's round trip, and those of signing in are told apart by signing in alone. Every round has a device root and a store of its own; the agent is there.
Run: python -m benchmarks.proofs.slow_link [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.proofs import fine_tuning
from benchmarks.proofs.figures import Figures
from benchmarks.rivals import place, tools
from benchmarks.rivals.measured import Command, Run, measure
from benchmarks.rivals.place import PROFILES, Fleet, Place, Profile
from ota.core.connection import connection_of
from ota.core.release import Digest
from ota.formats.inventory import load_inventory
from ota.lab.sshd import account
from ota.remote import ssh

NEAR = PROFILES[0]
LOSSY = next(one for one in PROFILES if one.name == "1M")
CLEAN = replace(LOSSY, name="1M clean", title="1 Mbit/s, 300 ms round trip, no loss", loss_percent=0.0)
RATE = LOSSY.rate_kbit * 1000 / 8
"""Bytes a second."""
_UPDATE_BYTES = 40_000
"""About what the gentle update's difference takes."""
NO_MODEL = 30_000
"""So few bytes on the wire are no model's."""
ROUND_TRIP_S = LOSSY.round_trip_ms / 1000


@dataclass
class Taken:
    """What one line's rounds took, by the name of what was done."""

    runs: dict[str, list[Run]] = field(default_factory=dict)

    def add(self, name: str, run: Run) -> Run:
        """Note a run that ended well."""
        if run.code:
            sys.exit(f"{name}: {run.said}")
        self.runs.setdefault(name, []).append(run)
        wire = "" if run.wire_bytes is None else f"  {run.wire_bytes:9} bytes on the wire"
        print(f"  {name:34} {run.wall_s:7.2f} s{wire}", flush=True)
        return run

    def wall(self, name: str) -> float:
        """Return the median of the wall times."""
        return statistics.median(run.wall_s for run in self.runs[name])


class Bench:
    """One device, reached over a line, and a project of its own for each round."""

    def __init__(self, there: Fleet, at: Place, name: str) -> None:
        self._there = there
        self._at = at
        self._folder = there.folder / name
        self._host = at.targets[0]

    def begin(self, near: Place) -> None:
        """Forget the rounds before, on the device and here; bring the agent over loopback."""
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(Path(self._host.home) / "ota", ignore_errors=True)
        (self._folder / "playbooks").mkdir(parents=True)
        deploy = {"load_check": False, "keep_releases": 5}
        play = {
            "name": "far",
            "hosts": "all",
            "model": {"name": "net", "source": "net.tflite"},
            "deploy": deploy,
        }
        (self._folder / "playbooks" / "site.yaml").write_text(json.dumps([play]))
        shutil.copy(fine_tuning.file_of("base", "int8"), self._folder / "net.tflite")
        self.at(near)
        self.ota("status")
        self.at(self._at)

    def at(self, place: Place) -> None:
        """Go by another line from now on."""
        self._now = place
        task = self.task("net.tflite")
        (self._folder / "inventory.yaml").write_text(tools.inventory(task))

    def task(self, model: str) -> tools.Task:
        """Return the work as the rivals have it."""
        at = self._now
        return tools.Task(
            hosts=at.targets,
            user=account(),
            key=at.key,
            known_hosts=at.known_hosts,
            model=model,
            digest="",
            root="rival",
            forks=1,
            folder=self._folder,
        )

    def ota(self, *words: str) -> Run:
        """Run a command."""
        argv = (str(Path(sys.executable).with_name("ota")), *words)
        return self._measured(Command(argv=argv, cwd=self._folder, environment={}))

    def deploy(self, name: str, scheme: str) -> Run:
        """Deploy a fine-tuning and see that the device has it."""
        path = fine_tuning.file_of(name, scheme)
        done = self.ota("deploy", "--model", str(path))
        found = Path(self._host.home) / "ota" / "current" / "model.tflite"
        if done.code or Digest.of(found.read_bytes()) != Digest.of(path.read_bytes()):
            sys.exit(f"{name} {scheme} was not deployed: {done.said}")
        return done

    def rsync(self, base: Path, content: Path, *more: str) -> Run:
        """Bring a file to where another is, by `rsync -z`, and see that it is there."""
        there = Path(self._host.home) / "rival.tflite"
        shutil.copy(base, there)
        host = self._now.targets[0]
        options = " ".join((*self.task("").ssh_options, "-p", str(host.port)))
        argv = ("rsync", "-z", *more, "-e", f"ssh {options}", str(content), f"{host.address}:{there}")
        done = self._measured(Command(argv=argv, cwd=self._folder, environment={}))
        if not done.code and there.read_bytes() != content.read_bytes():
            sys.exit("rsync did not bring the file")
        return done

    def sign_in(self) -> Run:
        """Sign in as `ota` does, and leave."""
        (host,) = load_inventory([str(self._folder / "inventory.yaml")]).hosts
        began = time.monotonic()
        transport = ssh.connect(host, connection_of(host))
        wall = time.monotonic() - began
        transport.close()
        return Run(wall_s=wall, cpu_s=0.0, peak_bytes=0, wire_bytes=None, code=0, said="")

    def _measured(self, command: Command) -> Run:
        return measure(command, interface=self._now.interface)


def prove(there: Fleet, near: Place, profile: Profile, rounds: int, figures: Figures) -> None:
    """Hold the rounds of one line and note its figures."""
    far_runs, near_runs = Taken(), Taken()
    title = profile.title
    with place.reached(there, profile) as at:
        title += f" ({at.note})" if at.note else ""
        print(f"{title}:", flush=True)
        bench = Bench(there, at, "far")
        for _ in range(rounds):
            one_round(bench, at, near, far_runs, near_runs)
    judge(figures, title.split(", ")[-1], far_runs, near_runs)


def one_round(bench: Bench, at: Place, near: Place, far: Taken, close: Taken) -> None:
    """Do everything once over the line, and over loopback what sends no model."""
    base, gentle = (fine_tuning.file_of(name, "int8") for name in ("base", "gentle"))
    bench.begin(near)
    far.add("sign in", bench.sign_in())
    far.add("deploy int8, the first", bench.deploy("base", "int8"))
    far.add("deploy int8, gently fine-tuned", bench.deploy("gentle", "int8"))
    far.add("rsync -z of the same", bench.rsync(base, gentle))
    far.add("rsync -z of what is there", bench.rsync(gentle, gentle, "--size-only"))
    far.add("rollback", bench.ota("rollback"))
    far.add("deploy what is there", bench.deploy("gentle", "int8"))
    bench.ota("rollback")
    far.add("deploy float16, the first", bench.deploy("base", "float16"))
    print("  over loopback:")
    bench.at(near)
    close.add("sign in", bench.sign_in())
    bench.deploy("base", "int8")
    close.add("deploy what is there", bench.deploy("gentle", "int8"))
    close.add("rollback", bench.ota("rollback"))
    bench.at(at)


def judge(figures: Figures, line: str, far: Taken, near: Taken) -> None:
    """Note the figures of a line: whole commands, and what the file alone adds to the same command with nothing to send."""
    size = fine_tuning.file_of("base", "float16").stat().st_size
    bound = size / RATE + 5 * ROUND_TRIP_S
    first, signed = far.wall("deploy float16, the first"), far.wall("sign in")
    update, rival = far.wall("deploy int8, gently fine-tuned"), far.wall("rsync -z of the same")
    # Two commands are not equally quick twice: what the file alone took is no less than its bytes need.
    alone = max(update - far.wall("deploy what is there"), _UPDATE_BYTES / RATE)
    rival_alone = rival - far.wall("rsync -z of what is there")
    sign_in = trips(far, near, "sign in")
    nothing = trips(far, near, "deploy what is there") - sign_in
    print(f"{line}: round trips of signing in {sign_in:.1f}, of a deployment behind it that sends no model {nothing:.1f}")  # fmt: skip
    for text, figure, relation, goal in (
        ("first deploy of float16 over bytes / rate + 5 round trips", first / bound, "<=", 1.05),
        ("the same behind signing in", (first - signed) / bound, "<=", 1.05),
        ("rsync -z over ota, a gentle int8 update, whole commands", rival / update, ">=", 10),
        ("rsync -z over ota, a gentle int8 update, the file alone", rival_alone / alone, ">=", 10),
        ("round trips of a rollback behind signing in", trips(far, near, "rollback") - sign_in, "<=", 6),
    ):
        figures.add(f"{line}: {text}", figure, relation, goal)
    sent = [run.wire_bytes for run in far.runs["rollback"] if run.wire_bytes is not None]
    if sent:
        figures.add(f"{line}: bytes of a rollback on the wire, signing in among them", max(sent), "<=", NO_MODEL)  # fmt: skip


def trips(far: Taken, near: Taken, name: str) -> float:
    """Return how many round trips longer something takes over the line than over loopback."""
    return (far.wall(name) - near.wall(name)) / ROUND_TRIP_S


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if not fine_tuning.SHARED.is_dir():
        print(f"skipped: the shared networks are not at {fine_tuning.SHARED}")
        sys.exit(0)
    fine_tuning.make_all()
    place.enter_namespace()
    figures = Figures()
    with place.fleet(1) as there, place.reached(there, NEAR) as found:
        near = replace(found, known_hosts=f"{found.known_hosts}.near")
        shutil.copy(found.known_hosts, near.known_hosts)
        for profile in (CLEAN, LOSSY) if place.alone() else (CLEAN,):
            prove(there, near, profile, asked.rounds, figures)
    figures.finish()


if __name__ == "__main__":
    main()
