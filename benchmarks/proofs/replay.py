"""Proof: a selection made on real devices is recomputed from its raw sample log alone, to the last bit; and a log that was changed is found out.

Run: make proof-replay
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.proofs.figures import Figures
from benchmarks.proofs.fleet import Fleet, fleet

SELECT = "threads: [1, all]\nschemes: [float32, float16, int8, dynamic_range, dynamic_int8]\nlimits: {accuracy_drop: 3%}\n"


def main() -> None:
    """Select, replay in processes of their own, change the log, replay again."""
    figures = Figures()
    with fleet([(), ("tflite-runtime",)]) as there:
        playbook = there.playbook("replay", SELECT, shared=False)
        selected = there.select(playbook)
        same = 0
        for _ in range(3):
            (again,) = json.loads(there.run("replay", selected["id"], "--json"))["selections"]
            same += again == selected
        figures.add("replays equal to the record, bit for bit", same, "=", 3)
        numbers = sum(
            len(turn["latencies_ns"])
            for host in selected["raw"]
            for block in host["blocks"]
            for turn in block["turns"]
        )
        print(
            f"{numbers} raw samples, {len(selected['estimates'])} estimates, {selected['answer']}: {selected['winner']['scheme']}"
        )
        figures.holds(
            "a changed sample log",
            met=_refused(there, selected),
            found="refused",
            goal="refused with exit code 65",
        )
    figures.finish()


def _refused(there: Fleet, selected: dict[str, str]) -> bool:
    """Flip one bit of the log in the store and replay."""
    digest = selected["log"].removeprefix("sha256:")
    path = there.folder / ".ota" / "blobs" / digest[:2] / digest
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    done = subprocess.run(
        [sys.executable, "-m", "ota", "replay", selected["id"]],
        cwd=there.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stderr.strip())
    return done.returncode == 65


if __name__ == "__main__":
    main()
