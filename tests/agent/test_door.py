"""What the door takes for the start of its agent: that very command, however it is spoilt otherwise."""

from __future__ import annotations

import random
import shlex

from ota.agent import door
from ota.remote.bootstrap import bootstrap_argv, start_digest

WORDS = bootstrap_argv("python3", "~/ota", keep=True)
START = shlex.join(WORDS)
ASKED = (None, start_digest().hex, "~/ota", WORDS[5])
LETTERS = "'\"\\$`;|&\n \t#0f/~-\udcff"


def test_the_start_is_recognised_and_names_no_other() -> None:
    """The controller's command is taken apart into whom, what, where and which; behind sudo too."""
    assert door._asked(START) == ASKED
    assert door._asked(f"sudo -n -H -u model -- {START}") == ("model", *ASKED[1:])


def test_a_spoilt_start_is_another_or_none() -> None:
    """Of 20,000 starts with letters put in, taken out or exchanged, only those that a shell splits into the same words count as the start."""
    draw = random.Random(7)
    refused = 0
    for _ in range(20_000):
        spoilt = list(START)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(spoilt))
            spoilt[at : at + draw.randint(0, 1)] = draw.choice(("", draw.choice(LETTERS)))
        wish = "".join(spoilt)
        if door._asked(wish) != ASKED:
            refused += 1
            continue
        words = shlex.split(wish)
        assert words[1:6] == list(WORDS[1:6])
        assert words[7] in {"keep", "drop"}
    assert refused > 17_000
