"""The true 64-bit ARM wheels of both runtimes, emulated as Cortex-A53, A72 and A76: what loads, who calculates what, what comes out. Never timing.

Makes the boards where they are not there yet, asks all of them about every network of tests/emulated, and tries every file of one operator.
Run: python -m benchmarks.proofs.emulated_boards; where this machine cannot have them it says so and ends with 0.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.proofs.figures import Figures
from tests.emulated.boards import CORES, FOLDER, NATIVE, ROOT, RUNTIMES, Readings, everywhere, read_all
from tests.emulated.cells import try_all
from tests.emulated.files import all_files

_IMPOSSIBLE = 3
_OTHER_INTEGERS = (("int16",), ("int4", "int8"))
"""What calculates in integers and yet not alike on x86 and ARM."""


def set_up() -> None:
    """Make the boards; end here where this machine cannot have them."""
    done = subprocess.run(["sh", str(ROOT / "scripts" / "emulated-boards.sh"), str(FOLDER)], check=False)
    if done.returncode == _IMPOSSIBLE:
        print("skipped: the emulated boards cannot be made on this machine, for the reason above")
        sys.exit(0)
    if done.returncode:
        sys.exit("the emulated boards could not be made; the reason is above")


def show(readings: Readings, names: list[str]) -> None:
    """Print a line for each network and runtime: what the delegate takes and on which cores the outputs are those of x86."""
    print(f"\n{'network':30} {'runtime':15} {'calculates in':15} delegated parts; same bits as x86 on")
    for runtime in RUNTIMES:
        for name in names:
            here = readings[NATIVE, runtime][name]
            if not here.loads:
                print(f"{name:30} {runtime:15} does not load: {here.reason[:80]}")
                continue
            same = [core for core in CORES if readings[core, runtime][name].outputs == here.outputs]
            kind = ", ".join(here.arithmetic)
            print(f"{name:30} {runtime:15} {kind:15} {here.partitions}; {', '.join(same) or 'none'}")


def compare_networks(figures: Figures, folder: Path) -> None:
    """Ask every board about every network, and note what is as on x86."""
    files = all_files(folder)
    readings = read_all(files, print)
    show(readings, list(files))
    pairs = everywhere(readings, list(files))
    loading = {(core, runtime) for core, runtime, _, _, there in pairs if there.loads and any(there.outputs)}
    figures.add("cores x runtimes that load", len(loading), "=", len(CORES) * len(RUNTIMES))
    alike = sum((here.loads, here.reason) == (there.loads, there.reason) for *_, here, there in pairs)
    _all(figures, "networks that load, or do not, as on x86", alike, len(pairs))
    both = [(here, there) for *_, here, there in pairs if here.loads]
    equal = sum(here.nodes == there.nodes for here, there in both)
    _all(figures, "delegate maps equal to x86", equal, len(both))
    integer = [(here, there) for here, there in both if here.arithmetic == ("int8",)]
    same = sum(here.outputs == there.outputs and here.informative for here, there in integer)
    _all(figures, "int8 outputs bit-equal", same, len(integer))
    others = [one for one in pairs if one[3].loads and one[3].arithmetic in _OTHER_INTEGERS]
    same = sum(
        there.outputs == readings[CORES[0], runtime][name].outputs for _, runtime, name, _, there in others
    )
    _all(figures, "16x8 and int4-weight outputs bit-equal over the cores, x86 aside", same, len(others))


def compare_cells(figures: Figures, folder: Path) -> None:
    """Load every file of one operator on every board, and note where that is as on x86 and where the prediction holds."""
    alike = tried = foretold = right = 0
    for runtime in RUNTIMES:
        here = try_all(NATIVE, runtime, folder)
        for core in CORES:
            there = try_all(core, runtime, folder)
            tried += len(there.loading)
            alike += sum(there.loading[name] == loading for name, loading in here.loading.items())
            foretold += there.foretold
            right += there.foretold - len(there.wrong)
    _all(figures, "one-opcode cells that load, or do not, as on x86", alike, tried)
    print(f"\none-opcode cells: {tried}; of {tried - foretold} the prediction leaves it to the device")
    _all(figures, "one-opcode cells predicted as observed", right, foretold)


def _all(figures: Figures, name: str, right: int, of: int) -> None:
    figures.holds(name, met=0 < right == of, found=f"{right} of {of}", goal="all")


def main() -> None:
    """Set up, compare, and print the figures."""
    began = time.monotonic()
    set_up()
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        networks, cells = Path(folder) / "networks", Path(folder) / "cells"
        networks.mkdir()
        compare_networks(figures, networks)
        compare_cells(figures, cells)
    figures.add("minutes", (time.monotonic() - began) / 60, "<=", 8)
    figures.finish()


if __name__ == "__main__":
    main()
