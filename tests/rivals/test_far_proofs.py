"""The proofs of a long line and of a cold start, as far as they are arithmetic: what is judged, and that no command is left out."""

from __future__ import annotations

import pytest

from benchmarks.proofs import cold_start, fine_tuning, slow_link
from benchmarks.proofs.figures import Figures
from benchmarks.proofs.slow_link import Taken
from benchmarks.rivals.measured import Run


def taken(**walls: float) -> Taken:
    """Return runs that took so long; an underscore stands for a blank."""
    made = Taken()
    for name, wall in walls.items():
        made.add(name.replace("_", " "), Run(wall_s=wall, cpu_s=0, peak_bytes=0, wire_bytes=9000, code=0, said=""))  # fmt: skip
    return made


@pytest.mark.skipif(
    not fine_tuning.file_of("base", "float16").is_file(), reason="the fine-tunings are not made here"
)
def test_a_long_line_is_judged_by_whole_commands_and_by_the_file_alone() -> None:
    """A round trip is 0.3 s; what signing in takes is told apart, and so is what a command takes that sends nothing."""
    far = taken(sign_in=1.8, rollback=3.9, deploy_what_is_there=4.2)
    far.runs |= {
        "deploy float16, the first": taken(x=15.0).runs["x"],
        "deploy int8, gently fine-tuned": taken(x=5.0).runs["x"],
        "rsync -z of the same": taken(x=12.0).runs["x"],
        "rsync -z of what is there": taken(x=4.0).runs["x"],
    }
    figures = Figures()
    slow_link.judge(figures, "x", far, taken(sign_in=0.0, rollback=0.6, deploy_what_is_there=0.6))
    told = {text.partition(":")[2].strip(): met for text, met in figures.lines}
    assert told["rsync -z over ota, a gentle int8 update, whole commands: 2.4 (>= 10)"] is False
    assert told["rsync -z over ota, a gentle int8 update, the file alone: 10 (>= 10)"] is True
    assert told["round trips of a rollback behind signing in: 5 (<= 6)"] is True


def test_every_command_has_a_line_in_the_cold_start() -> None:
    """What `ota --help` lists is run by the proof, and nothing else."""
    assert sorted(cold_start._commands()) == sorted(cold_start._LINES)
