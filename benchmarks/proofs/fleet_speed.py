"""`ota deploy` beside the tools that a user would pick instead: the same work on the same OpenSSH daemons, over several lines, in mixed order.

Run: python -m benchmarks.proofs.fleet_speed [--devices N] [--profiles loopback,10M,1M] [--rounds N] [--out FOLDER]; writes fleet_speed.md and
fleet_speed.svg. The rivals come from the package index into an environment of their own.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.proofs.figures import Figures
from benchmarks.proofs.rollout_fleet import lend_environment
from benchmarks.rivals import place, tools
from benchmarks.rivals.environment import Environment, made
from benchmarks.rivals.measured import Command, Run, measure
from benchmarks.rivals.place import PROFILES, Fleet, Place, Profile
from benchmarks.rivals.table import Rounds, Spread, plot, ratio, table
from benchmarks.rivals.tools import OTA, RIVALS, Task, Tool
from ota.core.release import Digest
from ota.lab.sshd import account
from tests.agent.networks import dense

ROOT = Path(__file__).parent.parent.parent
_WEIGHTS = 800_000
"""Of random float32: 3.2 MB that no compression makes much smaller."""
_SINGLE_ROUNDS = 7
_PRICE_ROUNDS = 3


@dataclass
class Sitting:
    """One comparison: the fleet, the rivals that are left, and what went wrong with the others."""

    there: Fleet
    environment: Environment
    dropped: dict[str, str] = field(default_factory=dict)
    models: int = 0

    def model(self) -> tuple[Path, str]:
        """Make a model that no device has; return its file and its digest."""
        self.models += 1
        values = random.Random(self.models)
        weights = [[values.gauss(0, 1), values.gauss(0, 1)] for _ in range(_WEIGHTS // 2)]
        path = self.there.folder / "model.tflite"
        path.write_bytes(dense(weights))
        return path, Digest.of(path.read_bytes()).hex

    def task(self, at: Place, tool: str, model: Path, digest: str) -> Task:
        """Return the work of one run, with an empty folder for the tool; ota's stays, it is the project's."""
        folder = self.there.folder / tool.replace(" ", "-")
        if tool != OTA:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        return Task(
            hosts=at.targets,
            user=account(),
            key=at.key,
            known_hosts=at.known_hosts,
            model=str(model),
            digest=digest,
            root="ota" if tool == OTA else "rival",
            forks=len(at.targets),
            folder=folder,
        )

    def rivals(self) -> list[Tool]:
        """Return those that are there and have not failed."""
        for tool in RIVALS:
            if tool.needs in self.environment.absent:
                self.dropped[tool.name] = f"not installed: {self.environment.absent[tool.needs]}"
        return [tool for tool in RIVALS if tool.name not in self.dropped]

    def run(self, at: Place, tool: Tool, model: Path, digest: str, *, memory: bool) -> Run | None:
        """Have a tool do the work once, and see on every device that it did; None, and the tool is dropped, where not."""
        task = self.task(at, tool.name, model, digest)
        done = measure(tool.command(task, self.environment), interface=at.interface, memory=memory)
        wrong = [host.name for host in at.targets if not _there(host.home, task)]
        if tool.name != OTA:
            for host in at.targets:
                shutil.rmtree(Path(host.home) / task.root, ignore_errors=True)
        if done.code or wrong:
            self.dropped[tool.name] = (
                f"ended with {done.code}, {len(wrong)} devices without the model: {done.said[-300:].strip()}"
            )
            if tool.name == OTA:
                sys.exit(f"ota {self.dropped[OTA]}")
            return None
        return done


def _there(home: str, task: Task) -> bool:
    path = Path(home) / task.root / "current" / "model.tflite"
    return path.is_file() and Digest.of(path.read_bytes()).hex == task.digest


_OTA = Tool(
    name=OTA,
    how="deploy, load check off",
    needs="",
    command=lambda task, _: tools.ota(task),
)


def prepare(sitting: Sitting, at: Place, *, load_check: bool = False) -> Path:
    """Write the inventory and the playbook that `ota` works with; return its folder."""
    folder = sitting.there.folder / OTA
    (folder / "playbooks").mkdir(parents=True, exist_ok=True)
    task = sitting.task(at, OTA, sitting.there.folder / "model.tflite", "")
    (folder / "inventory.yaml").write_text(tools.inventory(task))
    deploy = {"load_check": load_check, "keep_releases": 2, "serial": [len(at.targets)]}
    play = {"name": "fleet", "hosts": "all", "model": {"name": "net", "source": task.model}, "deploy": deploy}
    (folder / "playbooks" / "site.yaml").write_text(json.dumps([play]))
    return folder


def compare(sitting: Sitting, at: Place, rounds: int, seed: int) -> tuple[Rounds, dict[str, int]]:
    """Hold a round that warms up and watches memory, then `rounds` that count; return the runs of each tool, and its memory."""
    prepare(sitting, at)
    runs: dict[str, list[Run]] = {}
    peaks: dict[str, int] = {}
    order = random.Random(seed)
    for number in range(rounds + 1):
        model, digest = sitting.model()
        turn = [_OTA, *sitting.rivals()]
        order.shuffle(turn)
        for tool in turn:
            done = sitting.run(at, tool, model, digest, memory=not number)
            if done is None:
                runs.pop(tool.name, None)
            elif not number:
                peaks[tool.name] = done.peak_bytes
            else:
                runs.setdefault(tool.name, []).append(done)
            if done is not None:
                print(f"  {number or 'warm-up'} {tool.name:14} {done.wall_s:7.2f} s  {done.cpu_s:6.2f} s CPU", flush=True)  # fmt: skip
    return runs, peaks


def price_of_load_check(sitting: Sitting, at: Place) -> str:
    """Return what the load check adds to a deployment of this fleet."""
    homes = [Path(host.home) for host in at.targets]
    folder = prepare(sitting, at)
    lend_environment(folder / "inventory.yaml", at.targets[0].name, [home / "ota" for home in homes])
    seconds: dict[bool, list[Run]] = {False: [], True: []}
    for number in range(2 * _PRICE_ROUNDS):
        with_it = bool(number % 2)
        prepare(sitting, at, load_check=with_it)
        model, digest = sitting.model()
        done = sitting.run(at, _OTA, model, digest, memory=False)
        assert done is not None
        seconds[with_it].append(done)
    off, on = (statistics.median(run.wall_s for run in seconds[each]) for each in (False, True))
    cpu = [statistics.median(run.cpu_s for run in seconds[each]) for each in (False, True)]
    return (
        f"The load check's price, on devices that all share this machine's processors: {on:.2f} s in place of {off:.2f} s"
        f" ({on / off:.2f}), controller CPU {cpu[1]:.2f} s in place of {cpu[0]:.2f} s."
    )


def one_up_to_date_host(sitting: Sitting, at: Place) -> Spread:
    """Return by how many seconds `ota deploy` on one host that has the release is longer than a bare `ssh host true`."""
    host = at.targets[0]
    prepare(sitting, at)
    model, digest = sitting.model()
    task = sitting.task(at, OTA, model, digest)
    deploy = tools.ota(task, "--limit", host.name)
    words = ("ssh", *task.ssh_options, "-p", str(host.port), host.address, "true")
    bare = Command(argv=words, cwd=task.folder, environment={})
    pairs = []
    for _ in range(_SINGLE_ROUNDS + 1):
        ours, theirs = (measure(command, interface=None) for command in (deploy, bare))
        if ours.code or theirs.code:
            sys.exit(ours.said + theirs.said)
        pairs.append(ours.wall_s - theirs.wall_s)
    return Spread.of(pairs[1:])


def judge(figures: Figures, runs: Rounds) -> None:
    """Note the figures that loopback has goals for."""
    rivals = [name for name in runs if name != OTA]
    fastest = min(rivals, key=lambda name: statistics.median(run.wall_s for run in runs[name]))
    pairs = [
        ("wall over the fastest rival's", fastest, 0.9),
        ("wall over ansible-core's", "ansible-core", 0.1),
    ]
    for text, name, goal in pairs:
        if name in runs:
            shown = f"{text} ({name})" if name == fastest else text
            figures.add(shown, ratio(runs, OTA, lambda run: run.wall_s, name).median, "<=", goal)
    if "parallel-ssh" in runs:
        cpu = ratio(runs, OTA, lambda run: run.cpu_s, "parallel-ssh").median
        figures.add("controller CPU over parallel-ssh's", cpu, "<=", 1.0)


def written(sitting: Sitting, count: int, parts: Sequence[str]) -> str:
    """Return the page."""
    versions = ", ".join(f"{name} {version}" for name, version in sitting.environment.versions.items())
    absent = [f"- {name}: {reason}" for name, reason in sitting.dropped.items()]
    return "\n\n".join(
        [
            "# Fleet speed",
            (
                f"`make proof-fleet-speed`: {count} OpenSSH daemons on one machine that they share with the tool, a new model of 3.2 MB in every round, its SHA-256"
                " verified on the device, the switch by rename; every tool at all devices at once. Medians, and in brackets the range of the rounds; all but the first"
                " column of numbers as a ratio to `ota` in the same round: above 1 is slower or more than `ota`. `ota` alone syncs what it writes, keeps a journal and"
                " reads back."
            ),
            f"Versions: {versions}.",
            *parts,
            *(["Not compared:\n\n" + "\n".join(absent)] if absent else []),
            "![Wall time of each tool over that of ota](fleet_speed.svg)\n",
        ]
    )


def main() -> None:
    """Compare, write the page and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--profiles", default=",".join(one.name for one in PROFILES))
    parser.add_argument("--rounds", type=int, default=0, help="0: as each profile has it")
    parser.add_argument("--out", type=Path, default=ROOT / ".ota" / "fleet_speed")
    asked = parser.parse_args()
    chosen = [one for one in PROFILES if one.name in asked.profiles.split(",")]
    if not chosen:
        parser.error(f"expected some of {', '.join(one.name for one in PROFILES)}")
    environment = made(ROOT / ".ota" / "rivals" / "venv")
    place.enter_namespace()
    figures = Figures()
    with place.fleet(asked.devices) as there:
        sitting = Sitting(there=there, environment=environment)
        parts, profiles = _sections(sitting, chosen, asked.rounds, figures)
    asked.out.mkdir(parents=True, exist_ok=True)
    page = written(sitting, asked.devices, parts)
    (asked.out / "fleet_speed.md").write_text(page)
    (asked.out / "fleet_speed.svg").write_text(plot(profiles))
    print("\n" + page)
    figures.finish()


def _sections(
    sitting: Sitting, chosen: Sequence[Profile], rounds: int, figures: Figures
) -> tuple[list[str], dict[str, Rounds]]:
    parts: list[str] = []
    profiles: dict[str, Rounds] = {}
    how = {tool.name: tool.how for tool in (_OTA, *RIVALS)}
    for seed, profile in enumerate(chosen):
        print(f"{profile.title}:", flush=True)
        with place.reached(sitting.there, profile) as at:
            runs, peaks = compare(sitting, at, rounds or profile.rounds, seed)
            note = f" ({at.note})" if at.note else ""
            parts += [f"## {profile.title}{note}", table(runs, how, peaks)]
            profiles[profile.title] = runs
            if not profile.rate_kbit:
                judge(figures, runs)
                parts.append(price_of_load_check(sitting, at))
                more = one_up_to_date_host(sitting, at)
                figures.add("seconds of ota deploy on one up-to-date host above ssh host true", more.median, "<=", 0.7)  # fmt: skip
                parts.append(
                    f"`ota deploy` on one host that is up to date: {more.text()} s more than `ssh host true`."
                )
    return parts, profiles


if __name__ == "__main__":
    main()
