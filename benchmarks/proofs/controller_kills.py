"""Proof: the controller's `ota deploy` killed at every record of its journal and at random instants of a real rollout, then taken up; whatever dies, no device stays on trial.

Each round deploys the other one of two files to three OpenSSH devices, in two batches, and kills the controller with SIGKILL: as soon as its journal has one, two, three
... records on the disk, until a rollout ends before that; then at instants that are spread evenly over the time that an undisturbed rollout takes. Then: every device settles within its lease and ten seconds more, `--resume` ends the rollout, what it says is what is
read back, and a further run changes nothing. Run: make proof-controller-kills KILLS=300
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from rich.progress import track

from benchmarks.proofs.figures import Figures
from benchmarks.proofs.rollout_fleet import NEW, OLD, Fleet, provision, rollout_fleet

DEVICES = 3
LEASE_S, SLACK_S = 3.0, 10.0
LEAST_RECORDS = 1 + 2 + 3 * DEVICES
DEPLOY = {
    "serial": [1, "100%"],
    "lease": f"{LEASE_S:g}s",
    "after": "true",
    "health_check": {"command": "sleep 0.2", "retries": 0},
}
MODELS = (("old.tflite", OLD), ("new.tflite", NEW))
NOTHING_TO_TAKE_UP = 64


@dataclass(slots=True)
class Tally:
    """What was seen: where the kills hit, how long the devices took to settle, and everything that was wrong."""

    hit: Counter[str] = field(default_factory=Counter)
    settled_s: list[float] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


def main() -> None:
    """Kill so many times."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    figures, tally = Figures(), Tally()
    with rollout_fleet(DEVICES, DEPLOY) as fleet:
        provision(fleet)
        whole = undisturbed(fleet)
        records = kill_at_each_record(fleet, tally)
        instants = [whole * (number + 0.5) / kills for number in range(kills)]
        random.Random(1).shuffle(instants)
        for number, instant in enumerate(track(instants, "kills")):
            kill_once(fleet, records + number, instant, tally)
    print(f"an undisturbed rollout took {whole:.2f} s; the kills hit: {dict(tally.hit)}")
    print(f"devices settled after {statistics.median(tally.settled_s):.2f} s in the middle")
    for one in tally.bad[:20]:
        print(one)
    figures.add("kills at a record of the journal, each one", records, ">=", LEAST_RECORDS)
    figures.add("kills at random instants", sum(tally.hit.values()) - records, ">=", kills)
    figures.add("kills in the middle of a rollout", tally.hit["in the rollout"], ">=", kills // 2)
    figures.add(
        "longest until every device was settled", max(tally.settled_s), "<=", LEASE_S + SLACK_S, unit=" s"
    )
    figures.add("wrong after a kill", len(tally.bad), "=", 0)
    figures.finish()


def undisturbed(fleet: Fleet) -> float:
    """Return the seconds that a rollout takes when nobody is killed; afterwards the devices run the second file."""
    whole = 0.0
    for model, _ in (*MODELS, *MODELS):
        began = time.monotonic()
        code, _hosts = fleet.run("deploy", "--model", model)
        whole = time.monotonic() - began
        if code:
            sys.exit(f"an undisturbed rollout ended with {code}")
    return whole


def kill_once(fleet: Fleet, number: int, instant: float, tally: Tally) -> None:
    """Kill one rollout at an instant, in seconds from its start, and see what comes of it."""
    model, content = MODELS[number % 2]
    with rollout(fleet, model):
        time.sleep(instant)
    look(fleet, f"kill {number} after {instant:.2f} s", model, content, tally)


def kill_at_each_record(fleet: Fleet, tally: Tally) -> int:
    """Kill one rollout for each number of records that its journal can have; return how many those are."""
    records = 0
    while True:
        model, content = MODELS[records % 2]
        with rollout(fleet, model) as process:
            reached = _has_records(fleet, process, records + 1)
        look(fleet, f"kill at record {records + 1}", model, content, tally)
        if not reached:
            tally.hit["before or after"] -= 1  # this one ended by itself
            return records
        records += 1


def look(fleet: Fleet, name: str, model: str, content: bytes, tally: Tally) -> None:
    """See what comes of a rollout of `model` that was killed."""
    settled = _settled(fleet)
    tally.settled_s.append(settled)
    if settled > LEASE_S + SLACK_S:
        tally.bad.append(f"{name}: a device is still on trial")
    tally.bad += [
        f"{name}: {host} runs what is neither"
        for host, one in fleet.currents().items()
        if one not in (OLD, NEW)
    ]
    code, said = fleet.run("deploy", "--resume")
    if code == NOTHING_TO_TAKE_UP:
        # Killed before the rollout had begun, or when it had ended.
        tally.hit["before or after"] += 1
    else:
        tally.hit["in the rollout"] += 1
        tally.bad += [f"{name}: resumed, {one}" for one in _untrue(fleet, code, said, content)]
    code, said = fleet.run("deploy", "--model", model)
    tally.bad += [f"{name}: run again, {one}" for one in _untrue(fleet, code, said, content)]
    again, said = fleet.run("deploy", "--model", model)
    changed = [one["host"] for one in said["rollouts"][0]["hosts"] if one["changed"]]
    if again or changed:
        tally.bad.append(f"{name}: a further run ended with {again} and changed {changed}")
    tally.bad += [f"{name}: left over {path}" for path in fleet.left_over()]


@contextmanager
def rollout(fleet: Fleet, model: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a rollout in a session of its own; at the end of the context all of it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ota", "deploy", "--model", model, "--json"],
        cwd=fleet.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has_records(fleet: Fleet, process: subprocess.Popen[bytes], count: int) -> bool:
    """Wait until the journal of the rollout under way has so many records, and say so; False where it ended before."""
    folder = fleet.folder / ".ota" / "rollouts"
    while process.poll() is None:
        for journal in folder.glob("*.jsonl"):
            with suppress(FileNotFoundError):
                if journal.read_bytes().count(b"\n") >= count:
                    return True
        time.sleep(0.0005)
    return False


def _settled(fleet: Fleet) -> float:
    """Return how many seconds passed until no device was on trial; more than may be where one still is."""
    began = time.monotonic()
    while True:
        passed = time.monotonic() - began
        trials = [
            device for device in fleet.lab.devices if (fleet.root(device.name) / "pending.json").exists()
        ]
        if not trials or passed > LEASE_S + SLACK_S:
            return passed
        time.sleep(0.02)


def _untrue(fleet: Fleet, code: int, said: Any, content: bytes) -> list[str]:
    """Return what is wrong with how a rollout says that it ended: all confirmed, and read back so."""
    if said is None:
        return [f"exit code {code}: {fleet.last_error}"]
    ends = {one["host"]: one["state"] for one in said["rollouts"][0]["hosts"]}
    wrong = [f"{host} is {state}" for host, state in ends.items() if state != "confirmed"]
    wrong += [f"{host} runs another file" for host, one in fleet.currents().items() if one != content]
    if code or len(ends) != len(fleet.lab.devices):
        wrong.append(f"exit code {code}, {len(ends)} hosts told of")
    return wrong


if __name__ == "__main__":
    main()
