"""An application that opens the model all the time while the agent switches 10,000 times: never missing, torn or of a wrong digest, never of two releases.

Run it by `make proof-reader`, or `python -m benchmarks.proofs.reader`.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.crash.operations import A, B, activate, confirm, deployed, done
from benchmarks.crash.place import place
from benchmarks.crash.planted import switch_by_two_names
from benchmarks.crash.releases import Small

from .figures import Figures

SWITCHES = 10_000
PLANTED = 2_000
KINDS = ("missing", "torn or of a wrong digest", "of two releases")


def main() -> None:
    """Switch to and fro under a reader; then once more by two names, which the reader must notice."""
    figures = Figures()
    began = time.monotonic()
    reads = _under_a_reader(SWITCHES, activate)
    print(
        f"{SWITCHES} switches in {time.monotonic() - began:.1f} s, read meanwhile {reads['reads']} times: {dict(reads)}"
    )
    planted = _under_a_reader(PLANTED, switch_by_two_names)
    print(f"planted, {PLANTED} switches by removing `current` and making it anew: {dict(planted)}")
    figures.add("switches", reads["switches"], ">=", 10_000)
    figures.add("reads meanwhile", reads["reads"], ">=", 10_000)
    for kind in KINDS:
        figures.add(f"reads that found the model {kind}", reads[kind], "<=", 0)
    figures.add("reads that noticed the planted switch", planted["missing"], ">=", 1)
    figures.finish()


def _under_a_reader(switches: int, switch: Callable[[Small, str], None]) -> Counter[str]:
    """Switch between two releases while another process reads; return what that process found."""
    with place() as here:
        here.lay({})
        for step in done(deployed(A), deployed(B)):
            step(here.root)
        argv = [sys.executable, "-m", "benchmarks.proofs.reader", here.root]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
            if reader.stdout is None or reader.stdin is None:
                raise AssertionError("no pipes")
            reader.stdout.readline()
            for number in range(switches):
                release = (A, B)[number % 2]
                switch(release, here.root)
                confirm(release, here.root)
            said, _ = reader.communicate(b"")
        lines = Path(here.root, "journal.jsonl").read_text(encoding="utf-8").splitlines()
        done_here = sum(json.loads(line)["action"] == "activate" for line in lines) - 2
        return Counter({**json.loads(said), "switches": done_here})


def read(root: str) -> None:
    """Read until the other end of stdin is closed; print what was found."""
    found: Counter[str] = Counter(dict.fromkeys(("reads", *KINDS), 0))
    models = {hashlib.sha256(dict(one.files)["model.tflite"]).hexdigest() for one in (A, B)}
    pairs = {(dict(one.files)["model.tflite"], dict(one.files)["runtime.json"]) for one in (A, B)}
    current = Path(root, "current")
    print("ready", flush=True)
    os.set_blocking(0, False)
    while _open_still():
        found["reads"] += 1
        try:
            if hashlib.sha256((current / "model.tflite").read_bytes()).hexdigest() not in models:
                found["torn or of a wrong digest"] += 1
            folder = current.resolve(strict=True)
            if ((folder / "model.tflite").read_bytes(), (folder / "runtime.json").read_bytes()) not in pairs:
                found["of two releases"] += 1
        except FileNotFoundError:
            found["missing"] += 1
    print(json.dumps(found))


def _open_still() -> bool:
    try:
        return os.read(0, 1) != b""
    except BlockingIOError:
        return True


if __name__ == "__main__":
    if len(sys.argv) > 1:
        read(sys.argv[1])
    else:
        main()
