"""How long `ota --help` takes, beside a bare Python start and a bare `import click`, interleaved in one run.

Run: python benchmarks/cold_start.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import click": [sys.executable, "-c", "import click"],
    "ota --help": [str(Path(sys.executable).with_name("ota")), "--help"],
}


def main() -> None:
    """Print the median wall time of each command in seconds and its ratio to the bare start."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, argv in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
            samples[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times[1:]) for name, times in samples.items()}
    for name, median in medians.items():
        print(f"{name:16} {median:.3f} s  {median / medians['python -c pass']:.1f}x")


if __name__ == "__main__":
    main()
