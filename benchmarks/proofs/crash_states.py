"""Every state that a power cut may leave of the agent's operations, recovered by the agent and judged; and whether planted faults are found.

Run it by `make proof-crash-states`, or `python -m benchmarks.proofs.crash_states`.
"""

from __future__ import annotations

import time
from collections import Counter

from benchmarks.crash.operations import OPERATIONS
from benchmarks.crash.place import Place, place
from benchmarks.crash.planted import SYNCED, orders_found, settling_found, syncs_found
from benchmarks.crash.simulator import Simulator

from .figures import Figures


def main() -> None:
    """Look at each operation, then at each planted fault."""
    figures = Figures()
    with place() as here:
        began = time.monotonic()
        states, bad = _operations(here)
        seconds = time.monotonic() - began
        print(f"\n{states} states in {seconds:.1f} s\n")
        figures.add("states that a cut may leave, looked at", states, ">=", 100_000)
        figures.add("bad states", bad, "<=", 0)
        figures.add("time", seconds, "<=", 120, unit=" s")
        _planted(here, figures)
    figures.finish()


def _operations(here: Place) -> tuple[int, int]:
    """Cut each operation, its second run after a kill, its second run after a cut, and recovery, two cuts deep; return states and bad ones."""
    print(f"{'operation':42} effects   states  recovered  run again  bad")
    states = bad = 0
    for operation in OPERATIONS:
        simulator = Simulator(operation, here)
        simulator.cut(simulator.history, again=2)
        simulator.cut_reruns()
        simulator.cut_killed()
        count = simulator.count
        effects = len(simulator.history.trace)
        print(
            f"{operation.name:42} {effects:7} {count.states:8} {count.runs:10} {count.reruns:10} {len(count.bad):4}"
        )
        told = Counter((one.step, one.after, one.why) for one in count.bad)
        for (step, after, why), times in told.most_common(5):
            print(f"    {times} x in {step or 'recovery'}, after {after}: {why}")
        states, bad = states + count.states, bad + len(count.bad)
    return states, bad


def _planted(here: Place, figures: Figures) -> None:
    orders = orders_found(here)
    for name, found in orders.items():
        print(f"planted: {name}: {'found' if found else 'NOT FOUND'}")
    figures.add("planted wrong orders not found", list(orders.values()).count(False), "<=", 0)
    missed = lone = 0
    for operation in SYNCED:
        syncs = syncs_found(operation, here)
        print(f"planted: {operation.name}: {len(syncs.found)} syncs found by leaving one out")
        for text in syncs.repeated:
            print(f"    the step syncs it twice, one does: {text}")
        for text in syncs.missed:
            print(f"    NOT FOUND: {text}")
        missed, lone = missed + len(syncs.missed), lone + len(syncs.found)
    figures.add("planted missing syncs found", lone, ">=", 30)
    figures.add("planted missing syncs not found, those done twice aside", missed, "<=", 0)
    kills = settling_found(here)
    print(f"planted: a recovery that syncs nothing: found after {kills} of the kills")
    figures.add("kills after which a recovery without syncs is found", kills, ">=", 1)


if __name__ == "__main__":
    main()
