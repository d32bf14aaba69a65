"""Real power cuts: an emulated machine loses its power at random moments of deploy, confirm, rollback and recovery, is started again and judged.

After each cut a script of its own, not the agent, reads the disk: `current` leads to a complete release whose files are as its manifest says, the old one or
the new one, and after an acknowledged switch the new one. Then the next run must end as an undisturbed one does; it may be cut too.

Run it by `make proof-power-cuts`, or `python -m benchmarks.proofs.power_cuts [CUTS [MACHINES]]`: 300 cuts on two machines side by side.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.machines.machine import missing
from benchmarks.machines.trial import cut_often

from .figures import Figures


def main() -> None:
    """Cut the power and report."""
    if missing():
        print(f"skipped: {missing()}")
        return
    cuts = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    machines = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with tempfile.TemporaryDirectory(prefix="ota-power-cuts-") as folder:
        tally = cut_often(cuts, Path(folder), machines=machines, tell=lambda text: print(text, flush=True))
    print(f"\n{tally.cuts} cuts in {tally.seconds:.0f} s, {tally.seconds / max(1, tally.cuts):.1f} s each")
    print(f"an undisturbed run, of recovery, deploy, rollback, deploy and prune: {tally.run_s:.1f} s")
    for step, times in tally.steps.most_common():
        print(f"    {times:4} in {step}")
    for text in tally.bad:
        print(f"    bad: {text}")
    figures = Figures()
    figures.add("cuts", tally.cuts, ">=", cuts)
    figures.add("bad", len(tally.bad), "<=", 0)
    figures.add("cuts inside of an operation", tally.inside, ">=", cuts // 2)
    figures.finish()


if __name__ == "__main__":
    main()
