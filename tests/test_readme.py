"""The README says what is: its commands exist, its exit codes are the program's, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from ota.cli.main import COMMANDS
from ota.core.scheme import SCHEMES
from ota.errors import ExitCode

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_is_named_and_every_named_command_exists() -> None:
    """The table of commands and the program's own are the same."""
    listed = re.findall(r"^\| `ota (\w+)` \|", TEXT, re.MULTILINE)
    assert listed == list(COMMANDS)
    named = set(re.findall(r"(?:`|^|\$ |&& |; )ota ([a-z]+)", TEXT, re.MULTILINE))
    assert named <= set(COMMANDS)


def test_the_exit_codes_are_the_programs() -> None:
    """Each exit code is listed once, and no other."""
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)]
    assert listed == [int(code) for code in ExitCode]


def test_the_schemes_and_the_published_table_are_printed_as_they_are() -> None:
    """What stands as the output of `ota schemes` and `ota score` is what they print now."""
    for args in (["schemes"], ["score", "examples/published_table.csv", "--objective", "published"]):
        done = subprocess.run(
            [sys.executable, "-m", "ota", *args],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        for line in done.stdout.splitlines():
            assert line.rstrip() in TEXT, line
    assert all(scheme.name in TEXT for scheme in SCHEMES)


def test_links_lead_to_files() -> None:
    """Every relative link is a file or folder of the project."""
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target
